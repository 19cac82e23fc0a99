"""Networks whose integer form is exact: weights are multiples of a power of two, thresholds too.

Then float32 simulation rounds nothing either, and the two must agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from spikeconv import SpikingNetwork
from spikeconv.fuse.layer import WEIGHTS
from spikeconv.neuron import IFNode

UNIT = 2.0**-8


class Residual(nn.Module):
    """An identity shortcut, one that subsamples and pads channels (option A), and a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.down = nn.Conv2d(6, 10, 3, stride=2, padding=1, bias=False)
        self.third = nn.Conv2d(10, 10, 3, padding=1)
        self.fourth = nn.Conv2d(10, 7, 3, stride=2, padding=1)
        self.projection = nn.Conv2d(10, 7, 1, stride=2)
        self.head = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.second(F.relu(self.first(x))) + x)
        y = F.relu(self.third(F.relu(self.down(x))) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
        z = F.relu(self.fourth(y) + self.projection(y))
        return self.head(z.mean((2, 3)))


class Concatenated(nn.Module):
    """Joined populations, read by a convolution, by a linear layer and as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.left = nn.Conv2d(4, 5, 3, padding=1)
        self.right = nn.Conv2d(4, 3, 1)
        self.joined = nn.Conv2d(12, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 4, 3)
        self.other = nn.Conv2d(8, 2, 3)
        self.hidden = nn.Linear(6 * 5 * 4, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = torch.cat([F.relu(self.left(x)), F.relu(self.right(x))], 1)
        y = F.relu(self.joined(torch.cat((y, x), dim=-3)) + y)
        y = torch.cat([F.relu(self.last(y)), F.relu(self.other(y))], 1)
        return self.head(F.relu(self.hidden(y.flatten(1))))


class Scaled(nn.Module):
    """Constants, by channel or not, and batch norms, before layers, behind them and beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, eps=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Conv2d(4, 5, 1)
        self.head = nn.Linear(5, 3)
        self.norm.running_var.fill_(3)
        self.norm.running_mean.fill_(0.25)
        self.register_buffer("gain", torch.tensor([1.0, 2.0, -0.5, 4.0]).view(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.first(2 * x / 4) * self.gain + self.norm(x) + 0.25)
        y = self.second(-(x * self.gain))
        x = F.relu(torch.sub(y * 0.5, x, alpha=2) - self.gain)
        return self.head(F.relu(self.third(F.avg_pool2d(x * self.gain, 2))).mean((2, 3)))


class Shifted(nn.Module):
    """Constants and a batch norm between neurons and what reads them: layers with padding, pools,
    joined populations, membranes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, eps=1, affine=False)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.joined = nn.Conv2d(8, 4, 3, stride=2, padding=1)
        self.pooled = nn.Conv2d(4, 4, (2, 3), padding=(1, 0))
        self.hidden = nn.Linear(4 * 3 * 1, 5)
        self.head = nn.Linear(5, 3)
        self.norm.running_var.fill_(3)
        self.norm.running_mean.fill_(0.25)
        self.register_buffer("shift", torch.tensor([1.0, -2.0, 0.5, 0.0]).view(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = self.norm(x)
        y = F.relu(self.first(x) + self.second(x))
        y = F.relu(
            self.joined(torch.cat([x - 1, 0.5 - y * 0.5], 1)) + (y + self.shift)[:, :, ::2, ::2]
        )
        y = F.relu(self.pooled(F.pad(F.avg_pool2d(y + self.shift, 2), (1, 0, 0, 0))))
        return self.head(F.relu(self.hidden((y - 0.25).flatten(1))))


class ByShape(nn.Module):
    """Padding and windows that shapes tell, a mean in place of a pool, and Python's sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.several = nn.ModuleList(nn.Conv2d(8, 4, 3, padding=1) for _ in range(3))
        self.hidden = nn.Linear(4, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.avg_pool2d(F.relu(self.stem(x)), 2))
        y = self.down(x)
        more = y.shape[1] - x.size(1)
        x = F.relu(y + F.pad(x[..., ::2, ::2], (0, 0, 0, 0, more // 2, more - more // 2)))
        x = F.relu(sum(layer(x) for layer in self.several))
        x = F.relu(self.hidden(x.mean((2, 3))))
        return self.head(x)


class PreActivation(nn.Module):
    """Neurons branch off a sum that begins with the image, or read the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6, eps=1, affine=False) for _ in range(2))
        self.first, self.second = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.down = nn.Conv2d(6, 3, 3, stride=2, padding=1)
        self.head = nn.Linear(3, 3)
        for norm in self.norms:
            norm.running_var.fill_(3)
            norm.running_mean.fill_(0.25)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = y + self.first(F.relu(self.norms[0](y)))
        z = F.relu(self.norms[1](y))
        z = F.relu(y - self.second(z))
        far = 64 * x[:, :, ::2, ::2]  # mostly beyond what digits hold
        return self.head(F.relu(self.down(z) + far).mean((2, 3)))


class Bottlenecks(nn.Module):
    """Layers without neurons between them and a layer of 1 x 1, as separable convolutions are."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.signs = nn.Parameter(torch.randn(2, 4, 1, 3, 3))
        self.wide, self.mixed = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 5, 1)
        self.narrow = nn.Conv2d(6, 4, 3, padding=1)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(F.relu(self.stem(x)), self.signs[0].sign(), groups=4, padding=1)
        x = F.relu(self.narrow(F.relu(self.wide(x))))
        y = F.conv2d(x, self.signs[1].sign(), groups=4, stride=2, padding=1)
        return self.head(F.relu(self.mixed(y - x[:, :, ::2, ::2])).mean((2, 3)))


class Resized(nn.Module):
    """Spikes are interpolated, in floating point between integer layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.large = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.small, self.last = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(F.relu(self.large(F.relu(self.stem(x)))), scale_factor=2)
        return F.relu(self.last(F.relu(self.small(x)))).flatten(1)


def sequential(*layers: nn.Module) -> Callable[[], nn.Module]:
    """A network of these layers with a convolution before and a linear layer after them."""
    return lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), *layers, nn.Flatten(), nn.LazyLinear(3)
    )


def sequence() -> nn.Module:
    """One-dimensional convolutions."""
    return nn.Sequential(
        nn.Conv1d(3, 5, 3), nn.ReLU(), nn.Conv1d(5, 6, 4, stride=2, padding=2, dilation=2),
        nn.ReLU(), nn.AvgPool1d(2), nn.Conv1d(6, 4, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (3, 11, 9)),
    "concatenated": (Concatenated, (3, 9, 8)),
    "by shape": (ByShape, (3, 16, 16)),
    "scaled": (Scaled, (3, 8, 8)),
    "shifted": (Shifted, (3, 10, 10)),
    "pre-activation": (PreActivation, (3, 8, 7)),
    "bottlenecks": (Bottlenecks, (3, 9, 7)),
    "resized": (Resized, (3, 7, 6)),
    "strided": (
        sequential(nn.Conv2d(4, 9, (3, 2), (2, 1), (0, 1)), nn.ReLU()),
        (3, 8, 7),
    ),
    "dilated": (sequential(nn.Conv2d(4, 5, 3, padding=2, dilation=2), nn.ReLU()), (3, 7, 6)),
    "same": (sequential(nn.Conv2d(4, 5, 4, padding="same"), nn.ReLU()), (3, 7, 6)),
    "padded": (
        sequential(nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()),
        (3, 7, 6),
    ),
    "grouped": (
        sequential(
            nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ReLU(),
            nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(),
        ),
        (3, 8, 8),
    ),
    "pooled": (
        sequential(
            nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(),
            nn.AvgPool2d(4, 2, 1), nn.Conv2d(6, 4, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 5, 1), nn.ReLU(),
        ),
        (3, 16, 16),
    ),
    "max-pooled": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, (2, 1), 1, ceil_mode=True),
            nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3),
        ),
        (3, 8, 7),
    ),
    "linear": (
        sequential(nn.Flatten(), nn.LazyLinear(12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU()),
        (3, 5, 6),
    ),
    "sequence": (sequence, (3, 20)),
}  # fmt: skip


def exact(
    name: str, *, signed: bool = False, T: int = 5, seed: int = 0, precision: str = "int8"
) -> SpikingNetwork:
    """A converted network of `NETS` in which every number is a multiple of a power of two.

    Of each byte more, weights are multiples of a 256th of the unit, and of nothing coarser.
    """
    make, shape = NETS[name]
    torch.manual_seed(seed)
    ann = make()
    ann.eval()(torch.zeros(1, *shape))  # lazy layers take their shape
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in ann.parameters():
            whole = torch.randint(-80, 100, parameter.shape, generator=generator)
            unit = UNIT
            for _ in list(WEIGHTS)[1 : list(WEIGHTS).index(precision) + 1]:
                whole = 256 * whole + torch.randint(-127, 128, whole.shape, generator=generator)
                unit /= 256
            if parameter.dim() > 1:  # the largest of each output channel: the scale is exact
                whole.flatten(1)[:, 0] = WEIGHTS[precision].largest
            parameter.copy_(whole * unit)
    snn = spikeconv.convert(
        ann, images(shape, 4, seed), T=T, method="opi", signed=signed, progress=False
    )
    for label, node in snn.populations().items():
        theta = torch.full_like(node.v_threshold, 2.0)
        snn.neurons[label] = IFNode(theta, theta / 2, signed=signed)
    return snn


def images(shape: tuple[int, ...], count: int, seed: int = 0) -> Tensor:
    """Images of whole 64ths, so that the first currents are exact too."""
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.randint(-128, 129, (count, *shape), generator=generator) / 64


def shape_of(name: str) -> tuple[int, ...]:
    """Shape of one image."""
    return NETS[name][1]
