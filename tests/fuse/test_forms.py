"""What only looks as if it had an integer form runs in floating point, and gives the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv

Body = Callable[[Any, Tensor], Tensor]


class Form(nn.Module):
    """A stem, whose spikes are x, and a body."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
        self.one, self.line = nn.Conv2d(4, 1, 1), nn.Linear(1, 4)
        self.paired = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.register_buffer("four", torch.rand(4, 1, 1))
        self.register_buffer("square", torch.rand(4, 8, 8))
        self.p, self.q = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.25))
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        v = self.stem(x)
        self.static = v
        return self.body(self, F.relu(v)).flatten(1)


BODIES: dict[str, Body] = {
    "a product that repeats channels": lambda s, x: F.relu(s.conv(F.relu(s.one(x)) * s.four)),
    "a product that repeats pixels": lambda s, x: F.relu(
        s.conv(x.mean((2, 3), keepdim=True) * s.square)
    ),
    "parts of one value": lambda s, x: F.relu(s.conv(torch.cat(torch.chunk(x, 2, 1)[::-1], 1))),
    "groups over padded channels": lambda s, x: F.relu(
        s.paired(F.pad(F.relu(s.two(x)), (0, 0, 0, 0, 0, 2)))
    ),
    "a linear layer over the last of several": lambda s, x: F.relu(
        s.line(x.mean((2, 3), keepdim=True))
    ),
    "a number from what comes before": lambda s, x: F.relu(
        s.conv(F.avg_pool2d(x, s.static.shape[-1] // 4))
    ),
    "padding from what comes before": lambda s, x: F.relu(
        s.conv(F.pad(x, (0, s.static.shape[3] - 6, 0, 0)))
    ),
    "a factor from what comes before": lambda s, x: F.relu(s.conv(x) * (s.static.shape[-1] / 8)),
}


@torch.no_grad()
@pytest.mark.parametrize("name", BODIES)
def test_what_has_no_integer_form(name: str) -> None:
    """At the size that it was converted with, and at another where that is possible."""
    net = Form(BODIES[name]).eval()
    x = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    snn = spikeconv.convert(net, x, T=8, method="opi", progress=False)
    fused = snn.fuse("int16")
    assert list(fused.report().paths.values())[-1].startswith("float: ")
    for images in (x, F.interpolate(x, scale_factor=2)):
        if images is x or name.endswith("before"):
            torch.testing.assert_close(fused(images), snn(images), atol=0.02, rtol=0)


@torch.no_grad()
def test_numbers_of_no_image_are_no_stack_of_images() -> None:
    """Two parameters that are stacked and added up stand beside a stack of spikes."""
    net = Form(lambda s, x: F.relu(s.conv(x) * torch.stack([s.p, s.q]).sum(0))).eval()
    x = torch.rand(8, 3, 8, 8)
    snn = spikeconv.convert(net, x, T=8, method="opi", progress=False)
    torch.testing.assert_close(snn.analog(x), net(x))
    assert list(snn.fuse().report().paths.values())[-1] == "int8"


class Deep(nn.Module):
    """Sixty residual blocks of one convolution, whose shortcuts ask for shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(60))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            y = block(x)
            x = F.relu(y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])))
        return x


@torch.no_grad()
def test_a_deep_network_is_planned_in_proportion_to_its_depth() -> None:
    """A walk back from each shape through all before would take 2^60 steps."""
    snn = spikeconv.convert(
        Deep().eval(), torch.rand(2, 3, 4, 4), T=2, method="opi", progress=False
    )
    begun = time.perf_counter()
    assert len(snn.fuse().report().paths) == 60
    assert time.perf_counter() - begun < 60
