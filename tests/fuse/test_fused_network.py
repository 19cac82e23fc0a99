"""A network in integers gives the bits of its simulation wherever no number needs rounding."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from spikeconv import SpikingNetwork
from spikeconv.fuse.form import PRECISIONS
from spikeconv.network.timing import Timing
from spikeconv.neuron import IFNode
from tests.fuse.nets import NETS, exact, images, shape_of

T = 5


def paths(fused: SpikingNetwork) -> list[str]:
    """How the populations run, in order, without the reasons."""
    return [path.partition(":")[0] for path in fused.report().paths.values()]


@torch.no_grad()
@pytest.mark.parametrize("signed", [False, True], ids=["binary", "signed"])
@pytest.mark.parametrize("name", NETS)
def test_equals_the_simulation(name: str, signed: bool) -> None:
    snn = exact(name, signed=signed, T=T)
    fused = snn.fuse()
    x = images(shape_of(name), 3, seed=7)
    wanted = ["float", *["int8"] * (len(snn.neurons) - 1)]
    if name == "resized":
        wanted[2] = "float"
    assert paths(fused) == wanted
    with snn.monitor() as monitor:
        expected = snn(x)
    assert 0.02 < monitor.firing_rate() < 0.98
    assert torch.equal(fused(x), expected)
    assert torch.equal(fused(x, readout="all"), snn(x, readout="all"))
    assert torch.equal(fused(x, T=1), snn(x, T=1))
    assert torch.equal(fused(x[:0]), snn(x[:0]))


@torch.no_grad()
@pytest.mark.parametrize("name", ["residual", "pooled", "concatenated", "resized"])
def test_long_runs_come_in_chunks(name: str) -> None:
    snn = exact(name, signed=True)
    fused, x = snn.fuse(), images(shape_of(name), 2)
    assert torch.equal(fused(x, T=70), snn(x, T=70))
    assert torch.equal(fused(x, T=70, readout="all"), snn(x, T=70, readout="all"))


@torch.no_grad()
def test_a_longer_run_than_its_units_allow_is_planned_anew() -> None:
    fused = exact("residual").fuse()
    assert fused.integers is not None
    short, long = fused.integers.plan(64), fused.integers.plan(65)
    assert short is fused.integers.plan(1)
    assert {layer.steps for layer in short.program.layers.values()} == {64}
    assert {layer.steps for layer in long.program.layers.values()} == {128}


@torch.no_grad()
def test_delay_exit_and_counting_read_the_same_spikes() -> None:
    snn = exact("residual", T=8)
    snn.timing = Timing(delay=3)
    fused, x = snn.fuse(), images(shape_of("residual"), 6)
    assert torch.equal(fused(x), snn(x))
    assert torch.equal(fused(x, readout="all"), snn(x, readout="all"))
    for confidence in (0.4, 0.9):
        assert all(map(torch.equal, fused.exit_early(x, confidence), snn.exit_early(x, confidence)))
    with snn.monitor(keep_counts=True) as wanted, fused.monitor(keep_counts=True) as found:
        snn(x), fused(x)
    assert found.firing_rates() == wanted.firing_rates()
    for name, counts in wanted.counts.items():
        assert torch.equal(found.counts[name], counts)


@torch.no_grad()
def test_biases_of_steps_and_potentials_of_neurons() -> None:
    snn = exact("residual", T=6)
    for name, node in list(snn.populations().items())[1:]:
        shape = tuple(snn.report().rows[list(snn.neurons).index(name)].shape)
        steps = torch.arange(3.0).view(3, *[1] * len(shape)) * torch.ones(3, *shape) / 4
        start = torch.arange(float(torch.tensor(shape).prod())).view(shape) % 5 / 4
        snn.neurons[name] = node.replaced(step_bias=steps, bias=-0.25, v_init=start)
    fused, x = snn.fuse(), images(shape_of("residual"), 2)
    assert paths(fused)[1:] == ["int8"] * (len(snn.neurons) - 1)
    assert torch.equal(fused(x), snn(x))


class Call(nn.Module):
    """A function between layers."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, h: Tensor) -> Tensor:
        return self.function(h)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.* was never active in calibration")
@pytest.mark.parametrize("size", [(7, 8), (9, 9)])
def test_constants_beside_spikes_end_where_padding_begins(size: tuple[int, int]) -> None:
    """By hand: at a corner four of nine taps see the constant, at an edge six, inside all."""
    body = nn.Sequential(
        nn.Conv2d(1, 1, 1),
        nn.ReLU(),
        Call(lambda h: h + 2),
        nn.Conv2d(1, 1, 3, padding=1),
        nn.ReLU(),
    )
    for parameter in body.parameters():
        parameter.fill_(0)
    body[3].weight.fill_(1)
    x = torch.zeros(2, 1, *size)
    snn = spikeconv.convert(body.eval(), x, T=4, method="opi", progress=False)
    layer = next(iter(snn.fuse().integers.plan(4).program.layers.values()))
    bias = layer.bias.double() * layer.unit
    assert (bias[0, 0, 0, 0], bias[0, 0, 0, 1], bias[0, 0, 1, 1]) == (8, 12, 18)


@torch.no_grad()
def test_other_networks_run_in_floating_point_and_say_why() -> None:
    def layer(*middle: nn.Module) -> SpikingNetwork:
        body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), *middle, nn.ReLU(), nn.Flatten())
        return spikeconv.convert(body.eval(), torch.rand(4, 1, 8, 8), T=4, progress=False)

    def reason(snn: SpikingNetwork) -> str:
        fused, x = snn.fuse(), torch.rand(2, 1, 8, 8)
        assert torch.equal(fused(x), snn(x))
        return list(fused.report().paths.values())[1]

    assert "max pooling of what varies" in reason(layer(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)))
    circular = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
    assert "padding_mode='circular'" in reason(layer(circular))
    assert "no integer form" in reason(layer(nn.ConvTranspose2d(2, 3, 3)))
    assert "divides windows at the border" in reason(
        layer(nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Conv2d(2, 2, 1))
    )
    plus, around, before = (
        Call(f)
        for f in (
            lambda h: h + 0.25,
            lambda h: F.pad(h, (1, 1, 1, 1)),
            lambda h: F.pad(h, (0, 0, 0, 0, 1, 1)),
        )
    )
    assert "adds to zeros" in reason(layer(around, plus, nn.Conv2d(2, 2, 3)))
    assert "adds to zeros" in reason(layer(before, plus, nn.Conv2d(4, 2, 3)))
    assert "pools zeros" in reason(layer(plus, nn.AvgPool2d(2, 2, 1), nn.Conv2d(2, 2, 1)))
    narrow = nn.Conv2d(2, 1, 5), nn.Conv2d(1, 64, 1)  # 3,200 products in place of 50 + 64
    assert "would make one with 28 times as many products" in reason(layer(*narrow))
    assert "is no spikes, and is sliced, joined with others or read by a layer" in reason(
        layer(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 3))
    )
    twice = Call(lambda h: h + 2 * h)
    assert "adds up spikes before a layer reads them" in reason(layer(twice, nn.Conv2d(2, 2, 1)))
    differing = exact("residual")
    second = list(differing.neurons)[1]
    theta = torch.full((6, 11, 9), 2.0)
    theta[0, 0, 0] = 4.0
    differing.neurons[second] = IFNode(theta, 1.0)
    fused, x = differing.fuse(), images(shape_of("residual"), 2)
    found = list(fused.report().paths.values())
    assert "threshold differs from neuron to neuron" in found[1]
    assert "threshold of what it reads differs" in found[2]
    assert torch.equal(fused(x), differing(x))


@torch.no_grad()
@pytest.mark.parametrize("name", ["residual", "resized", "pre-activation"])
def test_images_of_other_sizes_are_planned_anew(name: str) -> None:
    snn = exact(name)
    fused = snn.fuse()
    for size in [(11, 9), (16, 13), (7, 8), (9, 9), (12, 12), (13, 11), (11, 9)]:
        x = images((3, *size), 2)
        assert torch.equal(fused(x), snn(x)), size
    empty = images((3, 10, 10), 0)
    assert torch.equal(fused(empty), snn(empty))


def test_the_report_names_every_layer_and_its_path() -> None:
    text = str(exact("resized", precision="int16").fuse("int16").report())
    assert text.count("int16") == 2
    assert "it has no" not in text
    assert "float: interpolate has no integer form" in text


@torch.no_grad()
def test_a_report_on_images_says_how_those_run() -> None:
    body = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(),
    )  # fmt: skip
    snn = spikeconv.convert(body.eval(), torch.rand(4, 1, 8, 8), T=4, progress=False)
    fused = snn.fuse()
    found = list(fused.report(torch.rand(2, 1, 9, 9)).paths.values())
    assert "pools windows of several sizes" in found[1]
    assert paths(fused)[1] == list(fused.report(torch.rand(2, 1, 12, 8)).paths.values())[1]
    assert paths(fused)[1] == "int8"


@torch.no_grad()
def test_copies_and_pickles_are_fused_too() -> None:
    fused, x = exact("residual").fuse(), images(shape_of("residual"), 2)
    wanted = fused(x)
    for copied in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert torch.equal(copied(x), wanted)
        assert paths(copied) == paths(fused)


def test_the_original_is_left_as_it_is() -> None:
    snn = exact("residual")
    before = {name: value.clone() for name, value in snn.state_dict().items()}
    fused = snn.fuse()
    assert snn.integers is None
    assert not snn.report().paths
    fused.to(torch.float64)
    for name, value in snn.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == before[name].dtype


def test_precision_is_checked() -> None:
    with pytest.raises(
        ValueError, match="fuse: precision must be one of 'int8', 'int16', 'int24', got 'int4'"
    ):
        exact("strided").fuse("int4")


@torch.no_grad()
@pytest.mark.parametrize("precision", PRECISIONS)
def test_rounded_weights_stay_near(precision: str) -> None:
    # Of random weights every current is within the bound that rounding allows, neuron by neuron.
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)
    )
    body(torch.zeros(1, 3, 9, 9))
    x = torch.randn(8, 3, 9, 9)
    snn = spikeconv.convert(body.eval(), x, T=64, method="opi", progress=False)
    fused = snn.fuse(precision)
    name = list(snn.neurons)[1]
    with snn.monitor(keep_counts=True) as wanted, fused.monitor(keep_counts=True) as found:
        snn(x), fused(x)
    assert fused.integers is not None
    layer = fused.integers.plan(64).program.layers[name]
    inputs = 72  # weights of one neuron, each rounded by at most half a unit of weights
    rounded = layer.unit * 2**layer.shift * inputs / 2 + layer.unit
    theta = snn.populations()[name].v_threshold.flatten().double()
    allowed = 64 * rounded / theta + 1  # spikes over all steps, and one for what is left over

    def off(counts: Tensor) -> Tensor:
        return (counts - wanted.counts[name]).abs().double().amax((0, 2, 3))

    assert (off(found.counts[name]) <= allowed).all()
    assert precision == "int8" or allowed.max() < 2
