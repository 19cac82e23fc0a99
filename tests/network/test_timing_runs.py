"""SRP, COS and the delay in whole networks: bit for bit what the obvious way gives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from spikeconv.convert import SpikingNetwork
from spikeconv.network import limits
from spikeconv.network.structure import map_tensors, tensors
from spikeconv.network.timing import Timing
from tests.convert.bodies import NETWORKS
from tests.convert.nets import assert_close, assert_same_output, converted, dyadic, images
from tests.network.timing_oracle import every_step, stacked

SETTINGS = {
    "srp": {"srp": 4},
    "cos": {"cos": 4},
    "short cos": {"cos": 5},
    "delay": {"delay": 2},
    "all three": {"srp": 2, "cos": 4, "delay": 1},
}
# So that the readout is a power of two, whose mean is exact.
STEPS = {"srp": 8, "cos": 8, "short cos": 7, "delay": 6, "all three": 11}

each_network = pytest.mark.parametrize("name", NETWORKS)
each_setting = pytest.mark.parametrize("setting", SETTINGS)
both_signs = pytest.mark.parametrize("signed", (False, True), ids=("unsigned", "signed"))


def timed(name: str, setting: str, signed: bool = False) -> tuple[SpikingNetwork, Tensor, int]:
    """A network of exact arithmetic with such a timing, images for it, and T.

    Its second layer is made to weigh more, so that the order of spikes there matters often.
    """
    net = NETWORKS[name]()
    for layer in (net.c2, getattr(net, "wide", net.c2), getattr(net, "narrow", net.c2)):
        layer.weight.data.mul_(2)
    snn = dyadic(net, signed=signed, T=16)
    snn.timing = Timing(**SETTINGS[setting])
    return snn, images(2, 2, 4, 4), STEPS[setting]


@each_network
@each_setting
@both_signs
def test_equals_the_obvious_way(name: str, setting: str, signed: bool) -> None:
    snn, x, T = timed(name, setting, signed)
    rows = every_step(snn, x, T, **SETTINGS[setting])
    assert_same_output(snn(x, T=T), rows[-1][1], "mean")
    running = snn(x, T=T, readout="all")
    assert all(len(y) == T for y in tensors(running))
    kept, wanted = stacked(rows, powers_only=True)
    assert_same_output(map_tensors(lambda y: y[kept], running), wanted, "all")
    _, wanted = stacked(rows, powers_only=False)
    assert_close(running, wanted)


@pytest.mark.parametrize("setting", [{"srp": 2}, {"cos": 4}, {"srp": 2, "cos": 4}], ids=str)
def test_a_running_mean_is_that_of_a_shorter_run(setting: dict[str, int]) -> None:
    """From srp + 2 * cos steps on; before, a shorter run has fewer steps for COS to look at."""
    snn, x, _ = timed("residual", "srp")
    snn.timing = timing = Timing(**setting)
    running = snn(x, T=16, readout="all")
    same = [torch.equal(running[t - 1], snn(x, T=t)) for t in range(timing.before + 1, 17)]
    begin = timing.srp + 2 * timing.cos
    powers = [t for t in range(begin, 17) if t - timing.before in (1, 2, 4, 8)]  # exact means
    assert powers and all(same[t - timing.before - 1] for t in powers)
    assert all(same[: begin - timing.before - 1]) == (timing.cos == 0)


@each_setting
def test_it_does_something(setting: str) -> None:
    """In most networks, what the tests here compare is not what one without timing gives."""
    changed = 0
    for name in NETWORKS:
        snn, x, T = timed(name, setting)
        with_it = next(tensors(snn(x, T=T)))
        read, snn.timing = snn.timing.steps_read(T), Timing()
        changed += not any(torch.equal(with_it, next(tensors(snn(x, T=t)))) for t in (T, read))
    assert changed > len(NETWORKS) / 2


@pytest.mark.parametrize("name", ("residual", "pool in time", "branches"))
@each_setting
@both_signs
def test_in_chunks_and_in_parts(
    name: str, setting: str, signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    snn, x, T = timed(name, setting, signed)
    mean, running = snn(x, T=T), snn(x, T=T, readout="all")
    widest = snn.program.widest * math.prod(x.shape[1:]) // math.prod(snn.program.input_shape)
    for steps, parts in ((1, 2), (3, 2), (3, 1)):
        monkeypatch.setattr(limits, "_VALUES_AT_ONCE", widest * len(x) * steps)
        monkeypatch.setattr(limits, "_VALUES_IN_CACHE", widest * T * parts)
        assert snn.images_at_once(x, T) == parts
        assert_same_output(snn(x, T=T), mean)
        assert_close(snn(x, T=T, readout="all"), running)


@each_setting
@both_signs
def test_monitored(setting: str, signed: bool) -> None:
    """Watching changes nothing; both readouts spend the same spikes, on all T steps.

    The counts are those of the steps that are read: theta * count / steps is the output here.
    """
    snn, x, T = timed("ends in relu", setting, signed)
    read = snn.timing.steps_read(T)
    alone = snn(x, T=T)
    with snn.monitor(keep_counts=True) as mean:
        assert_same_output(snn(x, T=T), alone)
    with snn.monitor(keep_counts=True) as running:
        snn(x, T=T, readout="all")
    assert mean.firing_rates() == running.firing_rates()
    assert mean.never_fired() == running.never_fired()
    for name, count in mean.counts.items():
        assert torch.equal(count, running.counts[name])
    name, node = list(snn.populations().items())[-1]
    assert torch.equal(mean.counts[name] * node.v_threshold / read, alone)
    assert (mean.counts[name] <= read).all()


@pytest.fixture
def one_neuron() -> SpikingNetwork:
    """theta = 1, v_init = 1/2, current = image."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    nn.init.ones_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    return converted(net, torch.tensor([[0.5], [1.0]]), T=8)


def rate(snn: SpikingNetwork, value: float, readout: str = "mean") -> float:
    with snn.monitor() as monitor:
        snn(torch.tensor([[value]]), readout=readout)
    return monitor.totals()[next(iter(snn.neurons))][0]


def test_delay_by_hand(one_neuron: SpikingNetwork) -> None:
    """Current 0.25 fires at steps 2 and 6: v = .75, 1, .25, .5, .75, 1, .25, .5."""
    one_neuron.timing = Timing(delay=5)
    x = torch.tensor([[0.25]])
    assert one_neuron(x).item() == pytest.approx(1 / 3)
    running = one_neuron(x, readout="all").flatten()
    wanted = [0, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1, 1 / 2, 1 / 3]
    torch.testing.assert_close(running, torch.tensor(wanted))
    assert rate(one_neuron, 0.25) == 2  # of all 8 steps, whatever is read
    assert one_neuron(x, T=6).item() == 1


def test_srp_by_hand(one_neuron: SpikingNetwork) -> None:
    """-1/4 for two steps leaves 0, which is silenced; so is what has an exact 0 left at 0.75."""
    one_neuron.timing = Timing(srp=2)
    running = one_neuron(torch.tensor([[0.25], [0.75]]), readout="all")
    # 0.75: v = 1.25, 1 fires twice and leaves 0: silenced, permanently.
    assert running[:, 1].flatten().tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    # 0.25: .75, 1 fires and leaves 0 too.
    assert running[:, 0].flatten().tolist() == [0, 0.5, 0, 0, 0, 0, 0, 0]
    assert rate(one_neuron, 0.75) == 2
    one_neuron.timing = Timing(srp=4)
    running = one_neuron(torch.tensor([[0.25]]), readout="all").flatten()
    # After four steps 0.5 is left; the neuron starts anew from 0.5 and goes on as before.
    torch.testing.assert_close(running, torch.tensor([0, 1 / 2, 1 / 3, 1 / 4] * 2))


def test_cos_by_hand(one_neuron: SpikingNetwork) -> None:
    """1.25 fires at each of 3 steps and cannot more; 0.25 ends at .25; both stay as they are."""
    one_neuron.timing = Timing(cos=3)
    running = one_neuron(torch.tensor([[1.25], [0.25]]), readout="all")
    assert (running[:, 0] == 1).all()
    plain = [0, 1 / 2, 1 / 3]
    torch.testing.assert_close(
        running[:, 1].flatten(), torch.tensor([*plain, *plain, 1 / 4, 1 / 5])
    )
    assert rate(one_neuron, 1.25) == rate(one_neuron, 1.25, "all") == 8
    assert rate(one_neuron, 0.25) == rate(one_neuron, 0.25, "all") == 2


@each_setting
def test_the_last_of_all_is_the_mean(setting: str) -> None:
    for name in NETWORKS:
        snn, x, T = timed(name, setting)
        last = map_tensors(lambda y: y[-1], snn(x, T=T, readout="all"))
        assert_same_output(last, snn(x, T=T))


@pytest.mark.parametrize("setting", ("srp", "delay", "cos"))
def test_what_is_answered_after_t_steps_is_a_run_of_t_steps(setting: str) -> None:
    """Once the readout has begun; with COS, once a shorter run has as many steps to look at."""
    snn, x, _ = timed("residual", setting)
    running = snn(x, T=16, readout="all")
    for t in range(9 if setting == "cos" else snn.timing.before + 1, 17):
        torch.testing.assert_close(running[t - 1], snn(x, T=t))


def test_compiles_and_exports() -> None:
    snn, x, T = timed("residual", "all three")
    snn.T = T
    compiled = torch.compile(snn, backend="eager", fullgraph=True)
    assert_same_output(compiled(x), snn(x))
    assert_same_output(torch.export.export(snn, (x,)).module()(x), snn(x))


def test_empty_batches_and_broken_images() -> None:
    for setting in SETTINGS:
        snn, x, T = timed("residual", setting)
        assert snn(images(0), T=T, readout="all").shape == (T, 0, 3)
        x[1, 0, 3, 3] = float("nan")
        running = snn(x, T=T, readout="all")
        assert running[:, 1].isnan().all() and running[:, 0].isfinite().all()


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float64))
def test_dtypes(dtype: torch.dtype) -> None:
    for setting in SETTINGS:
        snn, x, T = timed("plain", setting)
        wanted = snn(x, T=T)
        other = snn.to(dtype)
        for node in other.populations().values():
            node.float()
        out = other(x.to(dtype), T=T)
        assert out.dtype == dtype
        assert (out.float() - wanted).abs().max() < 0.02
