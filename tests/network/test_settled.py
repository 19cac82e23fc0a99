"""Layers that were changed after they were made are converted as what they compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from spikeconv.network.settled import settle
from tests.convert.nets import relative_error

T = 16


def network(layer: nn.Module, *more: nn.Module) -> nn.Sequential:
    """A layer that reads eight channels of spikes."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), layer, *more).eval()


def padded() -> nn.Module:
    layer = nn.Conv2d(8, 8, 3, padding=1)
    layer.padding, layer.dilation = (2, 2), (2, 2)
    return layer


def padded_the_same() -> nn.Module:
    layer = nn.Conv2d(8, 8, 3, padding="same")
    layer.dilation = 2
    return layer


def not_padded() -> nn.Module:
    layer = nn.Conv2d(8, 8, 3, padding="same")
    layer.padding = "valid"
    return layer


def reflecting() -> nn.Module:
    """Reads what was made of its first padding."""
    layer = nn.Conv2d(8, 8, 3, padding=(1, 2), padding_mode="reflect")
    layer.padding = 7
    return layer


def strided() -> nn.Module:
    layer = nn.Conv2d(8, 8, 3, 2, padding=1)
    layer.stride = 1
    return layer


def wider() -> nn.Module:
    layer = nn.Conv2d(8, 8, 1)
    layer.weight = nn.Parameter(nn.Conv2d(8, 8, 3).weight.detach())
    return layer


def pruned() -> nn.Module:
    layer = nn.Conv2d(8, 8, 3)
    layer.weight, layer.bias = (
        nn.Parameter(values[:5].detach()) for values in (layer.weight, layer.bias)
    )
    return layer


def pruned_upwards() -> nn.Module:
    layer = nn.ConvTranspose2d(8, 8, 3, stride=2)
    layer.weight = nn.Parameter(layer.weight.detach()[:, :5])
    layer.bias = nn.Parameter(layer.bias.detach()[:5])
    layer.stride, layer.padding = 2, (1, 1)
    return layer


@pytest.mark.parametrize(
    ("made", "as_built"),
    [
        (padded, lambda: nn.Conv2d(8, 8, 3, padding=2, dilation=2)),
        (padded_the_same, lambda: nn.Conv2d(8, 8, 3, padding="same", dilation=2)),
        (not_padded, lambda: nn.Conv2d(8, 8, 3, padding="valid")),
        (reflecting, lambda: nn.Conv2d(8, 8, 3, padding=(1, 2), padding_mode="reflect")),
        (strided, lambda: nn.Conv2d(8, 8, 3, padding=1)),
        (wider, lambda: nn.Conv2d(8, 8, 3)),
        (pruned, lambda: nn.Conv2d(8, 5, 3)),
        (pruned_upwards, lambda: nn.ConvTranspose2d(8, 5, 3, stride=2, padding=1)),
    ],
)
@pytest.mark.parametrize("method", ["opi", "best"])
def test_as_one_that_was_built_so(
    made: Callable[[], nn.Module], as_built: Callable[[], nn.Module], method: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    changed = network(made(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    x = torch.rand(16, 3, 8, 8)
    changed(x)
    torch.manual_seed(1)
    built = network(as_built(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    built(x)
    built.load_state_dict(changed.state_dict())
    before, weights = vars(changed[2]).copy(), dict(changed[2].named_parameters())

    snn, other = (
        spikeconv.convert(ann, x, T=T, method=method, progress=False) for ann in (changed, built)
    )
    assert torch.equal(snn(x), other(x))
    assert snn.report() == other.report()  # operations among it
    fused, reference = snn.fuse("int16"), other.fuse("int16", backend="reference")
    assert torch.equal(fused(x), reference(x))
    assert fused.report().paths == other.fuse("int16").report().paths
    snn.save(tmp_path / "snn.safetensors")
    assert torch.equal(spikeconv.load(tmp_path / "snn.safetensors")(x), snn(x))
    assert all(vars(changed[2])[name] is value for name, value in before.items())
    assert all(changed[2].get_parameter(name) is value for name, value in weights.items())


class Causal(nn.Conv2d):
    """Pads at the top alone, by what else says how torch pads."""

    def __init__(self) -> None:
        super().__init__(8, 8, 3, padding=(0, 1))
        self._reversed_padding_repeated_twice = [1, 1, 2, 0]

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padded = F.pad(input, self._reversed_padding_repeated_twice)
        return F.conv2d(padded, weight, bias)


def with_a_forward_of_its_own() -> nn.Module:
    layer = nn.Conv2d(8, 8, 3)
    layer.padding = 1  # type: ignore[assignment]

    def forward(self: Any, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, [self.padding] * 4), self.weight, self.bias)

    layer.forward = MethodType(forward, layer)  # type: ignore[method-assign]
    return layer


@pytest.mark.parametrize("made", [Causal, with_a_forward_of_its_own])
def test_code_of_its_own_reads_what_it_likes(made: Callable[[], nn.Module]) -> None:
    ann, x = network(made(), nn.ReLU(), nn.Conv2d(8, 2, 1)), torch.rand(16, 3, 8, 8)
    snn = spikeconv.convert(ann, x, T=64, method="opi", progress=False)
    with torch.no_grad():
        torch.testing.assert_close(snn.analog(x), ann(x))
        assert relative_error(snn(x), ann(x)) < 0.1


def test_what_is_left_as_it_is() -> None:
    """Weights that are none, or of a rank that torch's function takes and the layer is not made
    for."""
    unused = nn.Linear(3, 3)
    unused.weight = None  # type: ignore[assignment]
    flat = nn.Linear(3, 1)
    flat.weight = nn.Parameter(flat.weight.detach()[0])
    settle(unused), settle(flat)
    assert (unused.in_features, flat.in_features) == (3, 3)
    numbers = nn.Conv2d(8, 8, 3)
    numbers.stride = np.int64(2)  # type: ignore[assignment]
    settle(numbers)
    assert numbers.stride == (2, 2)


def test_a_layer_that_is_changed_after_conversion_can_be_saved(tmp_path: Path) -> None:
    x = torch.rand(16, 3, 8, 8)
    ann = network(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    snn = spikeconv.convert(ann, x, T=T, method="opi", progress=False)
    layer: Any = snn.layers["_2"]
    layer.padding, layer.dilation = 2, 2
    snn.save(tmp_path / "snn.safetensors")
    assert torch.equal(spikeconv.load(tmp_path / "snn.safetensors")(x), snn(x))


def test_a_pruned_linear_layer() -> None:
    """9 of 12 outputs are left, which batch norm and the next layer read."""
    torch.manual_seed(0)
    first, norm, last = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 4)
    first.weight, first.bias = (nn.Parameter(v.detach()[:9]) for v in (first.weight, first.bias))
    norm.weight, norm.bias = (nn.Parameter(v.detach()[:9]) for v in (norm.weight, norm.bias))
    norm.running_mean, norm.running_var = torch.zeros(9), torch.ones(9)
    last.weight = nn.Parameter(last.weight.detach()[:, :9])
    ann = nn.Sequential(first, norm, nn.ReLU(), last, nn.ReLU(), nn.Linear(4, 2)).eval()
    snn = spikeconv.convert(ann, torch.rand(32, 6), T=T, progress=False)
    operations = snn.report().operations
    assert operations is not None
    assert operations.ann_macs == 6 * 9 + 9 * 4 + 4 * 2
