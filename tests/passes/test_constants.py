"""What no image changes: rectified weights are numbers, and buffers are taken as weights are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from tests.convert.nets import relative_error

LARGE = 512
X = torch.rand(64, 16, generator=torch.Generator().manual_seed(0))
Combine = Callable[["Gated", Tensor], Tensor]


class Gated(nn.Module):
    """One hidden layer, joined with what its weights and a buffer alone give."""

    def __init__(self, combine: Combine) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 12), nn.Linear(12, 4)
        self.gate = nn.Parameter(torch.rand(1, 12) - 0.3)
        self.gain = nn.Parameter(torch.tensor(0.7))
        self.of_buffer = nn.Linear(3, 12)
        self.act = nn.ReLU()
        self.register_buffer("table", torch.rand(1, 3))
        self.combine = combine

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.combine(self, F.relu(self.first(x))))  # type: ignore[no-any-return]


RECTIFIED: dict[str, Combine] = {
    "relu of a vector": lambda net, h: h * F.relu(net.gate),
    "relu of a number": lambda net, h: h * torch.relu(net.gain),
    "relu of an element": lambda net, h: h * F.relu(net.gate[0, 1]),
    "a module": lambda net, h: h * net.act(net.gate),
    "a module on a buffer": lambda net, h: h + net.of_buffer(net.act(net.table)),
    "relu6": lambda net, h: h * F.relu6(net.gate),
    "clamp": lambda net, h: h * net.gate.clamp(0, 1),
    "hardtanh": lambda net, h: h * F.hardtanh(net.gate, 0.0, 1.0),
    "maximum": lambda net, h: h * torch.maximum(net.gate, torch.zeros_like(net.gate)),
    "a mask": lambda net, h: h * (net.gate * (net.gate > 0)),
    "a sum": lambda net, h: h + F.relu(net.gate),
    "a layer of it": lambda net, h: h + F.relu(net.of_buffer(net.table)),
}

SIZED: dict[str, Combine] = {
    "expand": lambda net, h: h + net.of_buffer(net.table.expand(h.shape[0], -1)),
    "expand of a row": lambda net, h: h + net.of_buffer(net.table[0][None].expand(h.size(0), 3)),
    "new_ones": lambda net, h: h + net.of_buffer(net.table.new_ones(h.size(0), 3)),
}


@pytest.mark.parametrize("case", RECTIFIED)
def test_a_rectified_weight_is_a_number_and_no_neuron(case: str) -> None:
    torch.manual_seed(1)
    net = Gated(RECTIFIED[case]).eval()
    snn = spikeconv.convert(net, X, T=LARGE, method="opi", threshold="max", progress=False)
    assert len(snn.populations()) == 1
    assert relative_error(net(X), snn(X)) < 0.01
    assert torch.equal(
        snn.fuse("int16")(X[:3], T=4), snn.fuse("int16", backend="reference")(X[:3], T=4)
    )


@pytest.mark.parametrize("case", SIZED)
def test_a_buffer_may_be_sized_by_the_batch(case: str) -> None:
    torch.manual_seed(1)
    net = Gated(SIZED[case]).eval()
    snn = spikeconv.convert(net, X, T=LARGE, method="opi", threshold="max", progress=False)
    for count in (64, 3, 1):
        assert relative_error(net(X[:count]), snn(X[:count])) < 0.01


def test_fusion_by_rectified_weights_over_their_sum() -> None:
    """As EfficientDet joins what it sees at several scales."""

    class Fused(Gated):
        def forward(self, x: Tensor) -> Tensor:
            weights = F.relu(self.gate[0, :2])
            h = weights[0] * F.relu(self.first(x)) + weights[1] * F.relu(self.first(-x))
            return self.last(F.relu(h / (weights.sum() + 1e-4)))  # type: ignore[no-any-return]

    torch.manual_seed(1)
    net = Fused(RECTIFIED["a sum"]).eval()
    nn.init.constant_(net.gate, 0.5)
    snn = spikeconv.convert(net, X, T=LARGE, method="opi", threshold="max", progress=False)
    assert relative_error(net(X), snn(X)) < 0.01
    spikeconv.convert(net, X, T=4, progress=False)(X)
