"""Conversion on another device than the CPU: nothing stays here, and the results are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv import convert
from spikeconv.calibrate.correct import CORRECTIONS
from spikeconv.convert import SpikingNetwork
from spikeconv.fuse.form import PRECISIONS
from spikeconv.models import build_model
from tests.elsewhere import elsewhere, here, there

T = 8
IMAGES = 132


class Branches(nn.Module):
    """Depthwise and plain convolutions, pools, a concatenation, a parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.both = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, 5)
        self.scale = nn.Parameter(torch.full((1, 8, 1, 1), 0.7))
        self.register_buffer("offset", torch.rand(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        left = torch.relu(self.depthwise(F.max_pool2d(x, 2)))
        both = torch.cat([left, F.avg_pool2d(x, 2)], 1)
        both = torch.relu(self.both(both) * self.scale + self.offset)
        return self.head(both.mean((2, 3)))


def residual(**options: Any) -> nn.Module:
    return build_model("resnet8", num_classes=5, widths=(4, 4, 8), **options)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "branches": Branches,
    "residual": residual,
    "qcfs": lambda: residual(activation="qcfs"),
}


def same_there(network: str, use: Callable[[SpikingNetwork, Tensor], Tensor], **how: Any) -> None:
    """Convert and use a network on either device."""
    torch.manual_seed(0)
    net, x = NETWORKS[network]().eval(), torch.rand(IMAGES, 3, 8, 8)

    def result(net: nn.Module, x: Tensor) -> Tensor:
        options = {"T": T, "method": "opi", "progress": False, **how}
        return use(convert(net, x, **options), x[:9])

    wanted = result(net, x)
    with elsewhere():
        found = result(there(net), there(x))
    assert torch.equal(here(found), wanted)


def forward(snn: SpikingNetwork, x: Tensor) -> Tensor:
    return snn(x)


def test_the_pretended_device_sees_what_is_left_on_the_cpu() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with elsewhere():
        moved = there(net)
        moved[2].bias = nn.Parameter(torch.zeros(2), requires_grad=False)
        with pytest.raises(RuntimeError, match="tensors on two devices"):
            moved(there(torch.rand(5, 3)))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_default(network: str) -> None:
    same_there(network, forward, method="best")


@pytest.mark.parametrize("threshold", ["max", "percentile", "mse", "mse-closed", "balance"])
def test_thresholds(threshold: str) -> None:
    same_there("branches", forward, threshold=threshold)


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_corrections(correction: str) -> None:
    same_there("residual", forward, corrections=[correction])


@pytest.mark.parametrize(
    "how",
    [{"signed": True}, {"v_init": "uniform"}, {"delay": 2}, {"srp": 2}, {"cos": 2}],
    ids=str,
)
def test_neurons_and_times(how: dict[str, Any]) -> None:
    same_there("branches", forward, **how)


@pytest.mark.parametrize("network", ["branches", "residual"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_integers(network: str, precision: str) -> None:
    same_there(network, lambda snn, x: snn.fuse(precision, backend="reference")(x))


def _monitored(snn: SpikingNetwork, x: Tensor) -> Tensor:
    with snn.monitor(keep_counts=True):
        return snn(x)


USES: dict[str, Callable[[SpikingNetwork, Tensor], Tensor]] = {
    "chunks of steps": lambda snn, x: snn(x, T=40),
    "every step": lambda snn, x: snn(x, readout="all"),
    "early exit": lambda snn, x: snn.exit_early(x, 0.4).logits,
    "analog": lambda snn, x: snn.analog(x),
    "monitor": _monitored,
    "stream": lambda snn, x: snn.stream().step(x),
}


@pytest.mark.parametrize("use", USES)
def test_uses(use: str) -> None:
    same_there("residual", USES[use])
