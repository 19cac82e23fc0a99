"""One step at a time: equal to the run of all steps, and to a plain simulation of any input."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import NaiveSimulation, SpikingNetwork
from spikeconv.network import limits
from spikeconv.network.layers import PoolState
from spikeconv.network.structure import map_tensors, tensors
from spikeconv.network.timing import Timing
from tests.convert.bodies import NETWORKS
from tests.convert.nets import (
    Net,
    assert_close,
    assert_same_output,
    converted,
    dyadic,
    images,
)
from tests.convert.test_analog import sandwich
from tests.convert.test_together import EVERYTHING, TwoImages, pairs

T = 8

each_network = pytest.mark.parametrize("name", NETWORKS)
both_signs = pytest.mark.parametrize("signed", (False, True), ids=("unsigned", "signed"))


def streamed(snn: SpikingNetwork, *inputs: Tensor, steps: int = T) -> Any:
    """The output after each step of a stream of the same inputs, as ``readout="all"`` has it."""
    run = snn.stream()
    outputs = []
    for t in range(steps):
        outputs.append(run.step(*inputs))
        assert t + 1 == run.T
    return map_tensors(lambda *ys: torch.stack(ys), *outputs)


@pytest.fixture
def a_step_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls run in chunks of one step, so layers are given batches of the same size."""
    monkeypatch.setattr(limits, "_VALUES_AT_ONCE", 1)


@each_network
@both_signs
def test_equals_a_call(name: str, signed: bool, a_step_at_a_time: None) -> None:
    """At every t, with weights as training leaves them."""
    snn, x = converted(NETWORKS[name](), signed=signed), images(3)
    assert_same_output(streamed(snn, x), snn(x, T=T, readout="all"))


@each_network
def test_equals_a_call_of_all_steps_at_once(name: str) -> None:
    """Where sums are exact; so are the means of 1, 2, 4 and 8 steps."""
    snn, x = dyadic(NETWORKS[name](), signed=True), images(3)
    got, wanted = streamed(snn, x), snn(x, T=T, readout="all")
    assert_close(got, wanted)
    for t in (1, 2, 4, 8):
        at = [map_tensors(lambda y, t=t: y[t - 1], output) for output in (got, wanted)]
        assert_same_output(*at)
    assert_same_output(at[0], snn(x, T=T))


@each_network
@pytest.mark.parametrize(
    "timing", ({"delay": 3}, {"srp": 2}, {"srp": 2, "delay": 1}, {"delay": 5, "srp": 1})
)
def test_timing(name: str, timing: dict[str, int], a_step_at_a_time: None) -> None:
    snn, x = converted(NETWORKS[name](), T=T, **timing), images(3)
    assert_same_output(streamed(snn, x, steps=12), snn(x, T=12, readout="all"))


@each_network
def test_corrections(name: str, a_step_at_a_time: None) -> None:
    """Biases of every kind, also in more steps than they are for."""
    snn, x = converted(NETWORKS[name](), T=4, corrections=EVERYTHING, signed=True), images(3)
    assert any(node.step_bias is not None for node in snn.populations().values())
    assert_same_output(streamed(snn, x), snn(x, T=T, readout="all"))


def test_cos_needs_steps_to_come() -> None:
    snn = converted(NETWORKS["plain"](), T=T, cos=2, delay=1)
    with pytest.raises(ValueError, match=r"timing must have cos=0, .* got delay=1, cos=2; set"):
        snn.stream()
    snn.timing = Timing(delay=1)
    snn.stream().step(images(1))


def test_several_inputs(a_step_at_a_time: None) -> None:
    snn, x = converted(TwoImages(), [pairs(16)], T=4), pairs(3)
    wanted = snn(*x, readout="all")
    assert_same_output(streamed(snn, *x, steps=4), wanted)
    run = snn.stream()
    assert_same_output(run.step(other=x[1], x=x[0]), wanted[0])
    assert_same_output(run.step(x), wanted[1])
    assert_same_output(run.step(), wanted[2])


def plain(snn: SpikingNetwork, events: Tensor) -> list[Any]:
    """After each step, the mean of all steps' outputs so far, everything run at every step."""
    simulation = NaiveSimulation(snn)
    pools: dict[str, PoolState] = {}
    outputs = [simulation._run(x, 1, pools) for x in events]
    return [
        map_tensors(lambda *ys: torch.stack(ys).mean(0), *outputs[: t + 1])
        for t in range(len(outputs))
    ]


@each_network
@both_signs
def test_events(name: str, signed: bool) -> None:
    """Inputs that differ at every step: what no neuron comes before is computed at every step."""
    snn = dyadic(NETWORKS[name](), signed=signed)
    events = torch.stack([images(3) * (torch.rand(3, 2, 8, 8) < 0.4) for _ in range(T)])
    run = snn.stream()
    got = [run.step(x) for x in events]
    wanted = plain(snn, events)
    for t in range(T):
        assert_close(got[t], wanted[t])
    for t in (1, 2, 4, 8):
        assert_same_output(got[t - 1], wanted[t - 1])
    other = snn(events[0], T=T)
    assert any(not torch.equal(y, z) for y, z in zip(tensors(got[-1]), tensors(other), strict=True))


def test_events_by_hand() -> None:
    """One neuron of threshold 1, started at 1/2, and the image itself added at the end."""
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
    net[0].weight.data.fill_(1.0)
    snn = converted(net, torch.ones(4, 1), T=4)
    run = snn.stream()
    currents = (0.25, 0.75, -1.0, 1.5, 0.0)  # v: .75, 1.5 -> .5, -.5, 1 -> 0, 0
    answers = [run.step(torch.tensor([[current]])).item() for current in currents]
    assert answers == [0.0, 0.5, pytest.approx(1 / 3), 0.5, pytest.approx(2 / 5)]
    direct = converted(Net(lambda s, x: F.relu(s.c1(x)) + x[:, :1]), T=4)
    x = [images(1) for _ in range(2)]
    run = direct.stream()
    spikes = [run.step(x[0]) - x[0][:, :1], run.step(x[1]) - (x[0] + x[1])[:, :1] / 2]
    theta = direct.populations()["relu"].v_threshold
    for t, y in enumerate(spikes):
        counts = y / theta * (t + 1)
        torch.testing.assert_close(counts, counts.round(), atol=1e-5, rtol=0)


def test_an_analog_layer_before_the_neurons_sees_every_step() -> None:
    snn = converted(sandwich(torch.tanh), T=T, analog=True)
    events = torch.stack([images(2) for _ in range(T)])
    run = snn.stream()
    for x, wanted in zip(events, plain(snn, events), strict=True):
        assert_close(run.step(x), wanted)


def test_a_buffer_may_be_written_again() -> None:
    """Between steps a caller may fill the same tensor with the next events, as through numpy."""
    snn, frames = converted(NETWORKS["concat"]()), [images(2) for _ in range(4)]
    one, other = snn.stream(), snn.stream()
    buffer = torch.empty_like(frames[0])
    for frame in frames:
        buffer.numpy()[:] = frame.numpy()
        assert_same_output(one.step(buffer), other.step(frame))
    buffer.zero_()
    assert_same_output(one.step(), other.step(frames[-1]))


def _held() -> int:
    """Bytes of all dense tensors that are alive, those of other tests too."""
    gc.collect()
    alive = [item for item in gc.get_objects() if type(item) in (Tensor, nn.Parameter)]
    dense = [item for item in alive if item.layout == torch.strided and not item.is_meta]
    return sum(item.untyped_storage().nbytes() for item in dense)


def test_memory_does_not_grow() -> None:
    snn = converted(NETWORKS["branches"](), signed=True, corrections=("step-bias",), srp=2)
    run = snn.stream()
    held = []
    for t in range(40):
        run.step(images(3))
        if t in (5, 39):
            held.append(_held())
    assert held[0] == held[1]


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float64))
def test_dtypes(dtype: torch.dtype, a_step_at_a_time: None) -> None:
    snn = converted(NETWORKS["concat"]().to(dtype), images(16).double())
    x = images(3).to(dtype)
    assert_same_output(streamed(snn, x), snn(x, T=T, readout="all"))
