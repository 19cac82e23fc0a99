"""The exact savings: each is made, and what comes out is bit for bit the naive simulation's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import NaiveSimulation, SpikingNetwork
from spikeconv.network.structure import map_tensors
from tests.convert.bodies import NETWORKS
from tests.convert.nets import Net, assert_same_output, converted, dyadic, images

T = 8


@pytest.mark.parametrize("signed", (False, True), ids=("unsigned", "signed"))
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_naive_simulation(name: str, signed: bool) -> None:
    snn, x = dyadic(NETWORKS[name](), signed=signed), images()
    naive = NaiveSimulation(snn)
    assert_same_output(snn(x, T=T), naive(x, T=T), "mean")
    # Thirds are inexact, so of the running means those after 1, 2, 4 and 8 steps.
    ours, theirs = snn(x, T=T, readout="all"), naive(x, T=T, readout="all")
    powers = [0, 1, 3, 7]
    exact = [map_tensors(lambda y: y[powers], output) for output in (ours, theirs)]
    assert_same_output(*exact, "all")


def test_the_naive_simulation_is_not_trivial() -> None:
    """What the test above compares does depend on the image, on T, and on the readout."""
    for make in NETWORKS.values():
        naive, x = NaiveSimulation(dyadic(make())), images()
        out = naive(x, T=T)
        first = out if isinstance(out, Tensor) else out[0]
        other = naive(x, T=2)
        assert not torch.equal(first, other if isinstance(other, Tensor) else other[0])
        assert len(first.flatten(1).unique(dim=0)) == len(x)


@pytest.mark.parametrize("name", NETWORKS)
def test_multi_step_form_of_the_naive_simulation(name: str) -> None:
    """With neurons that take all steps at once, as other libraries have them."""

    class AllSteps(nn.Module):
        def __init__(self, node: nn.Module) -> None:
            super().__init__()
            self.node = node

        def reset(self) -> None:
            """No state."""

        def forward(self, x: Tensor) -> Any:
            return self.node.run(x, emit="psp")[0]  # type: ignore[operator]

    snn, x = dyadic(NETWORKS[name]()), images()
    naive = NaiveSimulation(snn, AllSteps, multi_step=True)
    assert_same_output(naive(x, T=T), NaiveSimulation(snn)(x, T=T))


def batches_seen(snn: SpikingNetwork, run: nn.Module, x: Tensor) -> dict[str, list[int]]:
    """Batch sizes of all calls of every layer in one run of T steps, by its path in the ANN."""
    labels = {step.target: step.label for step in snn.program.steps if step.kind == "module"}
    seen: dict[str, list[int]] = {label: [] for label in labels.values()}
    hooks = [
        snn.layers[target].register_forward_pre_hook(
            lambda module, args, sizes=seen[label]: sizes.append(len(args[0]))
        )
        for target, label in labels.items()
    ]
    run(x, T=T)
    for hook in hooks:
        hook.remove()
    return seen


def test_static_part_and_head_run_once() -> None:
    """c1 reads the image and fc the mean of spikes: once each; c2 reads spikes: at every step."""
    snn, x = dyadic(NETWORKS["residual"]()), images(4)
    assert batches_seen(snn, snn, x) == {"c1": [4], "c2": [T * 4], "fc": [4]}
    naive = NaiveSimulation(snn)
    assert batches_seen(snn, naive, x) == {"c1": T * [4], "c2": T * [4], "fc": T * [4]}


def test_head_runs_once_for_all_running_means() -> None:
    snn, x = dyadic(NETWORKS["plain"]()), images(4)
    sizes: list[int] = []
    snn.layers["fc"].register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    snn(x, T=T, readout="all")
    assert sizes == [T * 4]


def test_no_scale_layers() -> None:
    """The program is the ANN's calls, with the ANN's weights: no call and no weight is added."""
    net = NETWORKS["residual"]()
    snn = converted(net)
    calls = [step.target for step in snn.program.steps if step.kind != "neuron"]
    assert [getattr(target, "__name__", target) for target in calls] == (
        ["c1", "c2", "add", "mean", "fc"]
    )
    for name, layer in snn.layers.items():
        for parameter, value in layer.named_parameters():
            assert torch.equal(value, getattr(getattr(net, name), parameter))


def test_a_spike_is_worth_theta_to_the_next_layer() -> None:
    """theta 0.5 and 0.25, constant current 0.25: a spike every second step, a half for the next."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1), nn.ReLU())
    for layer in (net[0], net[2]):
        nn.init.constant_(layer.weight, 1)
        nn.init.zeros_(layer.bias)
    snn = converted(net, torch.tensor([[0.5], [0.25]]), v_init="zero")
    first, second = snn.populations().values()
    assert first.v_threshold.item() == second.v_threshold.item() == 0.5
    second.v_threshold.fill_(0.25)
    # First: spikes at steps 2 and 4. Second gets 0 .5 0 .5 and sends .25 at steps 2, 3 and 4.
    running = snn(torch.tensor([[0.25]]), T=4, readout="all")
    assert running.flatten().tolist() == [0, 0.125, pytest.approx(0.5 / 3), 0.1875]


@pytest.mark.parametrize("pool", (nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AdaptiveMaxPool2d(3)))
def test_max_pool_moves_before_the_neuron(pool: nn.Module) -> None:
    """The neurons stand behind the pool, which reads currents; the ANN's values stay the same."""
    net = Net(lambda s, x: s.pool(s.c1(x).clamp(0, 0.4)), pool=pool)
    x = images()
    snn = converted(net)
    assert [step.kind for step in snn.program.steps] == ["module", "max_pool", "neuron"]
    (neuron,) = snn.program.neurons()
    assert neuron.shape == net(x).shape[1:]
    assert torch.equal(snn.analog(x), net(x))


def test_pools_move_through_several_and_stay_where_others_read() -> None:
    """Two pools in a row both move; a rectifier that is also read elsewhere stays for that."""

    def body(s: Net, x: Tensor) -> Tensor:
        h = F.relu(s.c1(x))
        return s.head(F.max_pool2d(F.max_pool2d(h, 2), 2)) + s.head(h)

    net, x = Net(body), images()
    snn = dyadic(net)
    kinds = [step.kind for step in snn.program.steps if step.kind in ("neuron", "max_pool")]
    assert sorted(kinds) == ["max_pool", "max_pool", "neuron", "neuron"]
    assert [step.shape for step in snn.program.neurons()] == [(4, 8, 8), (4, 2, 2)]
    torch.testing.assert_close(snn.analog(x), net(x))


def test_static_max_pool_is_computed_once() -> None:
    """A pool of the image's own currents is no pool in time, in the naive simulation neither."""
    net = Net(lambda s, x: s.head(F.relu(F.max_pool2d(s.c1(x), 2))))
    snn, x = converted(net), images(4)
    neuron = next(snn.program.neurons()).name
    currents: list[Tensor] = []
    with torch.no_grad():
        snn.analog(x, lambda name, before, after: currents.append(before))
    naive = NaiveSimulation(snn)
    seen: list[Tensor] = []
    naive.neurons[neuron].register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    naive(x, T=3)
    assert len(seen) == 3
    for current in seen:
        assert torch.equal(current, currents[0])
