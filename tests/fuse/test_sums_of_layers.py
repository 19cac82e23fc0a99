"""Sums that enter neurons: of layers without neurons between them, and of what an image adds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from spikeconv import SpikingNetwork


class Stream(nn.Module):
    """Neurons, a stream to which layers add in turn, and neurons that read its end."""

    def __init__(self, layers: int, make: Callable[[], nn.Module], neurons: bool = False) -> None:
        super().__init__()
        self.first, self.head = make(), make()
        self.layers = nn.ModuleList(make() for _ in range(layers))
        self.neurons = neurons

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x))
        for layer in self.layers:
            h = h + layer(F.relu(h) if self.neurons else h)
        out: Tensor = F.relu(self.head(h))
        return out


def converted(net: nn.Module, *shape: int, T: int = 8) -> tuple[SpikingNetwork, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(8, *shape)
    return spikeconv.convert(net.eval(), x, T=T, method="opi", progress=False), x


def small(layer: nn.Module) -> nn.Module:
    """With weights that keep a long stream from growing."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.2)
    return layer


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 3, 20])
def test_a_stream_of_layers_is_one_layer(layers: int) -> None:
    """Of the spikes and of the first layer, however many ways lead through: 2^20 of twenty."""
    torch.manual_seed(0)
    snn, x = converted(Stream(layers, lambda: small(nn.Linear(6, 6))), 6)
    fused = snn.fuse("int16")
    assert list(fused.report().paths.values())[1] == "int16"
    assert fused.integers is not None
    (layer,) = fused.integers.plan(8).program.layers.values()
    assert len(layer.convolutions) == 2
    torch.testing.assert_close(fused(x), snn(x))
    assert torch.equal(fused(x), snn.fuse("int16", backend="reference")(x))


def test_a_long_stream_of_neurons_stays_in_floating_point() -> None:
    """Each of its neurons would add up all layers before."""
    torch.manual_seed(1)
    net = Stream(30, lambda: small(nn.Conv2d(2, 2, 3, padding=1)), neurons=True)
    paths = list(converted(net, 2, 5, 5)[0].fuse().report().paths.values())
    assert paths[1:25] == ["int8"] * 24
    assert paths[26] == "float: it adds up 25 layers, more than 24"


class Beside(nn.Module):
    """A layer of 1 x 1 over spikes and what an image adds, which may be broken."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.first, self.other = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1)
        self.mixed = nn.Conv2d(3, 4, 1)
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.relu(self.mixed(F.relu(self.first(x)) + self.gain * self.other(x)))
        return out


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (5, 9)])
def test_what_an_image_adds_before_a_layer_of_one_pixel(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    snn, _ = converted(Beside(), 2, 8, 8)
    x = torch.randn(3, 2, *size)
    fused = snn.fuse("int16")
    assert list(fused.report(x).paths.values())[1] == "int16"
    torch.testing.assert_close(fused(x), snn(x))


@torch.no_grad()
def test_where_what_an_image_adds_is_no_number_no_neuron_fires() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.mixed = nn.Linear(3, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            far = 1e30 * x[:, :1] * 1e10  # infinity of float32, and its difference no number
            out: Tensor = F.relu(self.mixed(F.relu(self.first(x))) + (far - far).expand(-1, 4))
            return out

    torch.manual_seed(1)
    net = Broken()
    nn.init.constant_(net.mixed.bias, 1.0)
    x = torch.rand(8, 3) + 0.5
    calibration = x.clone()
    calibration[:, 0] = 0.0
    snn = spikeconv.convert(net.eval(), calibration, T=8, method="opi", progress=False)
    fused = snn.fuse()
    assert list(fused.report().paths.values())[1] == "int8"
    assert bool((snn(x) == 0).all()) and bool((fused(x) == 0).all())
    assert bool((fused(calibration) != 0).any())
