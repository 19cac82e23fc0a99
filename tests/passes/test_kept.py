"""Forwards that keep what they compute, such as grids: nothing of a trace is left in them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from tests.convert.nets import relative_error

LARGE = 512


class Keeps(nn.Module):
    """A convolution, ReLU, and a head that adds a grid, which it keeps for images of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.grids: list[Tensor] = [torch.zeros(1)]
        self.shape: torch.Size | None = None
        self.register_buffer("scale", None)

    def offset(self, y: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(F.relu(self.body(x)))
        return torch.cat([y[:, :2] + self.offset(y), y[:, 2:]], 1)


def grid(height: int, width: int) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((columns, rows)).float()[None] / 8


class BySize(Keeps):
    """As in YOLOv5: a list that is replaced where the size is another."""

    def offset(self, y: Tensor) -> Tensor:
        if self.grids[0].shape[2:4] != y.shape[2:4]:
            self.grids[0] = grid(y.shape[2], y.shape[3])
        return self.grids[0]


class ByShape(Keeps):
    def offset(self, y: Tensor) -> Tensor:
        if self.shape != y.shape[2:]:
            self.grids[0], self.shape = grid(*y.shape[2:]), y.shape[2:]
        return self.grids[0]


class Lazy(Keeps):
    """A buffer that is none at first."""

    def offset(self, y: Tensor) -> Tensor:
        if self.scale is None:
            self.scale = torch.linspace(0, 1, y.shape[3])
        return self.scale


class OfWeights(Keeps):
    """An attribute that is not there at first, of a weight, which is a stand-in in a trace."""

    def offset(self, y: Tensor) -> Tensor:
        if not hasattr(self, "sums"):
            self.sums = self.head.weight.sum().detach()
        return self.sums  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [BySize, ByShape, Lazy, OfWeights])
@pytest.mark.parametrize("ran_before", [False, True])
def test_what_forward_keeps_is_no_stand_in(kind: type[Keeps], ran_before: bool) -> None:
    torch.manual_seed(0)
    net = kind().eval()
    x = torch.rand(16, 3, 6, 6)
    if ran_before:
        net(x)
    state = {name: id(value) for name, value in vars(net).items()}
    snn = spikeconv.convert(net, x, T=LARGE, method="opi", threshold="max", progress=False)
    assert {name: id(value) for name, value in vars(net).items()} == state, "it is the user's"
    assert relative_error(net(x), snn(x)) < 0.01


def test_threads_convert_at_once() -> None:
    """torch.fx changes torch.nn.Module for all threads while it traces."""
    together = threading.Barrier(4)

    def converted(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()),
            nn.Flatten(),
        )
        for weight in net.parameters():
            weight.data.uniform_(-0.2, 0.2, generator=generator)
        x = torch.rand(8, 3, 6, 6, generator=generator)
        together.wait()
        for _ in range(3):
            snn = spikeconv.convert(net, x, T=4, method="opi", progress=False)
        return snn(x)

    with ThreadPoolExecutor(4) as pool:
        at_once: list[Tensor] = list(pool.map(converted, range(4)))
    alone: Callable[[int], Tensor] = converted
    together = threading.Barrier(1)
    assert all(torch.equal(alone(seed), at_once[seed]) for seed in range(4))
