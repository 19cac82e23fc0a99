"""Sinabs 3.1.3: IAF and IAFSqueeze with single spikes, time in the second dimension."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode, replace_neurons
from tests.drop_in.libraries import assert_equal, gradients, library, reasons, replaced, steps

pytestmark = pytest.mark.sinabs

sinabs: Any = library("sinabs")
layers: Any = library("sinabs.layers")
activation: Any = library("sinabs.activation")

B, T = 3, 6
SHAPES = [(5,), (5, 4), (5, 3, 4)]
THRESHOLDS = [1.0, 0.3, torch.tensor([0.3, 0.5, 1.0, 1.25, 2.0])]


def currents(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """[B, T, *shape]"""
    return steps(B, *shape, T=T, seed=seed).transpose(0, 1).contiguous()


def layer(squeeze: bool, threshold: Any, dims: int, **options: Any) -> Any:
    theta = torch.as_tensor(threshold)
    theta = theta.view(-1, *[1] * (dims - 1)) if theta.dim() else theta
    options = {"spike_fn": activation.SingleSpike, "spike_threshold": theta, **options}
    return layers.IAFSqueeze(batch_size=B, **options) if squeeze else layers.IAF(**options)


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("floor", [None, -1.0, -0.3])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("squeeze", [False, True])
def test_spikes_and_potentials_are_equal(
    squeeze: bool, hard: bool, floor: float | None, record: bool
) -> None:
    reset = activation.MembraneReset() if hard else activation.MembraneSubtract()
    options = {"reset_fn": reset, "min_v_mem": floor, "record_states": record}
    for shape, threshold in itertools.product(SHAPES, THRESHOLDS):
        theirs = layer(squeeze, threshold, len(shape), **options)
        mine = replaced(theirs)
        with torch.no_grad():
            for seed in range(3):  # the state is kept from call to call
                x = currents(shape, seed)
                x = x.flatten(0, 1) if squeeze else x
                out = mine(x)
                assert_equal(out, theirs(x))
                assert out.is_contiguous()
                assert_equal(mine.v_mem, theirs.v_mem)
                assert_equal(mine.recordings, theirs.recordings)
                assert_equal(mine.firing_rate, theirs.firing_rate)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("floor", [None, -1.0])
def test_dtypes_mix_as_they_did(floor: float | None, dtype: torch.dtype) -> None:
    theirs = layer(False, 0.3, 1, min_v_mem=floor)
    mine = replaced(theirs)
    with torch.no_grad():
        for seed in range(2):
            x = currents((5,), seed).to(dtype)
            assert_equal(mine(x), theirs(x))
            assert_equal(mine.v_mem, theirs.v_mem)


def test_our_node_fires_the_same_spikes() -> None:
    x = currents((5,))
    with torch.no_grad():
        spikes = layer(False, 0.5, 1)(x)
    assert torch.equal(IFNode(0.5)(x.transpose(0, 1)).transpose(0, 1), spikes)


def test_their_resets_find_ours() -> None:
    net = nn.Sequential(nn.Linear(5, 5), layer(True, 0.5, 1), nn.Sequential(layer(True, 1, 1)))
    mine = replaced(net)
    x = currents((5,)).flatten(0, 1)
    for _ in range(2):
        with torch.no_grad():
            assert_equal(mine(x), net(x))
        for each in (net, mine):
            sinabs.reset_states(each)
            sinabs.zero_grad(each)
        assert not mine[1].v_mem.any()
    sinabs.set_batch_size(mine, 2)
    assert mine[1].batch_size == 2
    assert mine(x).shape == x.shape  # zeros of another shape are no state


@pytest.mark.parametrize("floor", [None, -1.0])
def test_another_batch_shape_is_an_error_until_reset(floor: float | None) -> None:
    mine = replaced(layer(False, 1.0, 1, min_v_mem=floor))
    with torch.no_grad():
        mine(torch.full((4, 3, 5), 0.3))
        for shape in ((2, 3, 5), (4, 3, 6)):
            with pytest.raises(ValueError, match=r"SinabsIAF: .*\[4, 5\].*call reset_states\(\)"):
                mine(torch.ones(shape))
        mine.reset_states()
        assert mine(torch.ones(2, 3, 5)).shape == (2, 3, 5)


@pytest.mark.parametrize("floor", [None, -0.5])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(
    "name", ["SingleExponential", "Gaussian", "Heaviside", "PeriodicExponential", "MultiGaussian"]
)
@pytest.mark.parametrize("threshold", [0.75, THRESHOLDS[2]], ids=["number", "tensor"])
def test_gradients_are_theirs(threshold: Any, name: str, hard: bool, floor: float | None) -> None:
    reset = activation.MembraneReset() if hard else activation.MembraneSubtract()
    function = getattr(activation, name)()
    theirs = layer(False, threshold, 1, reset_fn=reset, surrogate_grad_fn=function, min_v_mem=floor)
    mine = replaced(theirs)
    x = currents((5,))
    spikes, gradient = gradients(mine, x, lambda net, x: net(x))
    their_spikes, their_gradient = gradients(theirs, x, lambda net, x: net(x))
    assert_equal(spikes, their_spikes)
    assert their_gradient.abs().max() > 0.1
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-5, atol=1e-6)


def test_a_network_of_their_converter_gives_the_same() -> None:
    torch.manual_seed(0)
    ann = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 8), nn.ReLU()
    )
    theirs = sinabs.from_model(
        ann, spike_fn=activation.SingleSpike, batch_size=2, spike_threshold=torch.tensor(0.3)
    )
    mine = copy.deepcopy(theirs)
    report = replace_neurons(mine)
    paths = [layer.path for layer in report.replaced]
    assert paths == ["spiking_model.1", "spiking_model.5"]  # with min_v_mem = -1, its default
    images = torch.rand(2, 1, 3, 8, 8).expand(2, T, 3, 8, 8).flatten(0, 1)
    with torch.no_grad():
        out = theirs(images)
        assert out.any()
        assert_equal(mine(images), out)
        theirs.reset_states()
        mine.reset_states()
        assert_equal(mine(images), theirs(images))


def test_checkpoints_are_what_they_were() -> None:
    theirs = layer(False, THRESHOLDS[2], 1, min_v_mem=-0.5)
    x = currents((5,))
    with torch.no_grad():
        theirs(x)
        mine = replaced(layer(False, 1.0, 1, min_v_mem=-2.0, shape=(B, 5)))
        mine.spike_threshold.data = mine.spike_threshold.data.expand(5).clone()
        mine.load_state_dict(theirs.state_dict())
        assert_equal(mine(x), theirs(x))


def test_what_changes_later_counts() -> None:
    theirs = layer(False, 0.5, 1)
    mine = replaced(theirs)
    x = currents((5,))
    for change in (
        lambda net: setattr(net, "spike_fn", activation.MultiSpike),
        lambda net: setattr(net, "reset_fn", activation.MembraneReset(0.25)),
        lambda net: setattr(net, "spike_fn", activation.SingleSpike),
        lambda net: setattr(net, "reset_fn", activation.MembraneSubtract(0.25)),
        lambda net: setattr(net, "reset_fn", activation.MembraneSubtract()),
        lambda net: net.spike_threshold.data.fill_(0.25),
        lambda net: net.spike_threshold.data.fill_(-1.0),
    ):
        for net in (mine, theirs):
            change(net)
        with torch.no_grad():
            assert_equal(mine(x), theirs(x))
            assert_equal(mine.v_mem, theirs.v_mem)


def test_copies_go_their_own_way() -> None:
    x = currents((5,))
    for squeeze in (False, True):
        mine = replaced(layer(squeeze, 0.5, 1))
        y = x.flatten(0, 1) if squeeze else x
        with torch.no_grad():
            mine(y)
            for twin in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
                assert type(twin) is type(mine)
                assert_equal(twin.v_mem, mine.v_mem)
                twin(y * 0.7)
                assert not torch.equal(twin.v_mem, mine.v_mem)


def test_what_means_something_else_is_left_with_the_reason() -> None:
    single = {"spike_fn": activation.SingleSpike}

    class Own(layers.IAF):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return x

    learned = layers.IAF(**single)
    learned.spike_threshold.requires_grad_()
    cases = [
        (layers.IAF(), "spike_fn is MultiSpike"),
        (layers.IAF(spike_fn=activation.MaxSpike(1)), "spike_fn is MaxSpike"),
        (layers.IAF(spike_fn=None), "spike_fn is NoneType"),
        (layers.IAF(tau_syn=5.0, **single), "time constant"),
        (layers.LIF(tau_mem=5.0, **single), "LIF is no plain IF neuron"),
        (layers.ExpLeak(tau_mem=5.0), "ExpLeak is no plain IF neuron"),
        (layers.IAFRecurrent(nn.Linear(5, 5), **single), "IAFRecurrent is no plain IF neuron"),
        (layers.IAF(reset_fn=activation.MembraneReset(0.5), **single), "shifts all neurons"),
        (
            layers.IAF(reset_fn=activation.MembraneSubtract(0.5), **single),
            "subtracts 0.5, whatever",
        ),
        (layers.IAF(spike_threshold=torch.tensor(-1.0), **single), "must be positive"),
        (layers.IAF(spike_threshold=None, **single), "has no threshold"),
        (learned, "spike_threshold is learned"),
        (Own(**single), "Own is IAF with its own forward"),
    ]
    for module, why in cases:
        before = type(module)
        assert why in reasons(module)[0]
        assert type(module) is before
