"""Which convolutions see images in channels-last order, and that values stay where they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import spikeconv
from spikeconv.fuse import stems
from tests.fuse.nets import NETS, exact, images, shape_of


class Viewed(nn.Module):
    """What its first convolution gives is read by a second one, and by a `view`."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.pool = nn.BatchNorm2d(3), nn.MaxPool2d(2)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last, self.head = nn.Conv2d(8, 4, 3), nn.Linear(16 + 512, 3)
        self.one, self.two, self.three = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.norm(x))
        y = self.two(self.last(self.one(self.pool(self.second(x)))))
        return self.head(torch.cat([y.flatten(1), self.three(x.view(len(x), -1))], 1))


def orders(module: nn.Module, x: Tensor) -> dict[str, bool]:
    """By name of a convolution, whether it was called in channels-last order."""
    found: dict[str, bool] = {}

    def seen_by(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(conv: nn.Module, given: tuple[Tensor, ...]) -> None:
            found[name] = given[0].is_contiguous(memory_format=torch.channels_last)

        return hook

    convolutions = [(n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d)]
    hooks = [conv.register_forward_pre_hook(seen_by(name)) for name, conv in convolutions]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stems, "DEVICES", ("cpu", "cuda"))


@pytest.mark.usefixtures("anywhere")
def test_only_what_leads_to_neurons_alone_is_in_channels_last() -> None:
    x = images((3, 8, 8), 4)
    fused = spikeconv.convert(Viewed(), x, T=4, method="opi", progress=False).fuse()
    assert fused.integers is not None
    # Through a pool to neurons; what a `view` reads is not, and temporal ones are an engine's.
    assert fused.integers.plan(4).stems == {"second"}
    assert orders(fused, x) == {"layers.first": False, "layers.second": True}


@torch.no_grad()
@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("name", NETS)
def test_exact_networks_give_the_same_bits(name: str) -> None:
    snn, x = exact(name), images(shape_of(name), 3)
    assert torch.equal(snn.fuse()(x), snn(x))


def test_a_cpu_keeps_the_order_of_the_images() -> None:
    x = images((3, 8, 8), 4)
    fused = spikeconv.convert(Viewed(), x, T=4, method="opi", progress=False).fuse()
    assert orders(fused, x) == {"layers.first": False, "layers.second": False}
