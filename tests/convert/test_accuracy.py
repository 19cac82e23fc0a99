"""How close the spiking network comes to its ANN: with T, by method, where others do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.convert.nets import converted, images, relative_error


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + x)


def resnet(*, pooled: bool) -> nn.Module:
    """Five rectifiers, with batch statistics of normal noise; a max pool after a block's spikes."""
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        Residual(8),
        nn.MaxPool2d(2) if pooled else nn.Identity(),
        Residual(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    with torch.no_grad():
        for _ in range(20):
            net(images(32))
    return net.eval()


def error(net: nn.Module, T: int, **options: Any) -> float:
    """Relative error of the logits in T steps, of images that thresholds are set for."""
    torch.manual_seed(1)
    x = images(64)
    snn = converted(net, x, T=T, **options)
    with torch.no_grad():
        return relative_error(snn(x), net(x))


@pytest.mark.parametrize("pooled", (False, True), ids=("plain", "max pool"))
@pytest.mark.parametrize("threshold", ("max", "mse"))
def test_error_vanishes_with_time(pooled: bool, threshold: str) -> None:
    """At least by half for four times the steps: no floor, neither behind a max pool of spikes."""
    net = resnet(pooled=pooled)
    errors = [error(net, T, threshold=threshold) for T in (16, 64, 256)]
    assert errors[1] < errors[0] / 2 and errors[2] < errors[1] / 2
    assert errors[2] < 0.01


def test_methods_in_their_order() -> None:
    """max per layer from 0 is worst; then theta/2; then per channel; then least square error."""
    net = resnet(pooled=True)
    for T in (4, 8, 16):
        errors = [
            error(net, T, threshold="max", granularity="layer", v_init="zero"),
            error(net, T, threshold="max", granularity="layer"),
            error(net, T, threshold="max"),
            error(net, T, threshold="mse"),
        ]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < errors[0] / 5


def test_signed_neurons_undo_what_came_too_early() -> None:
    net = resnet(pooled=False)
    for T in (16, 32):
        assert error(net, T, threshold="mse", signed=True) < 0.9 * error(net, T, threshold="mse")
