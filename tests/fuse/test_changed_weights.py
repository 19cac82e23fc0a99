"""A fused network whose weights change answers as one that is made of the new ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import spikeconv
from spikeconv import SpikingNetwork
from spikeconv.calibrate.inputs import batch_of
from spikeconv.network.timing import Timing
from tests.convert.nets import relative_error
from tests.fuse.nets import exact, images, shape_of

X = images(shape_of("strided"), 4)

CHANGES: dict[str, Callable[[SpikingNetwork], Any]] = {
    "loaded": lambda snn: snn.load_state_dict(exact("strided", seed=1).state_dict()),
    "in place": lambda snn: [parameter.mul_(2) for parameter in snn.parameters()],
    "a threshold": lambda snn: list(snn.populations().values())[1].v_threshold.mul_(2),
    "a layer": lambda snn: snn.layers.update(dict(exact("strided", seed=1).layers.items())),
    "the timing": lambda snn: setattr(snn, "timing", Timing(srp=2)),
}


@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_followed(change: Callable[[SpikingNetwork], Any]) -> None:
    snn = exact("strided")
    fused = snn.fuse()
    before = fused(X)
    change(fused), change(snn)
    assert torch.equal(fused(X), snn.fuse()(X))
    assert torch.equal(fused(X), copy.deepcopy(fused)(X))
    assert not torch.equal(fused(X), before), "a change that changes nothing shows nothing"


@torch.no_grad()
def test_what_weights_are_computed_from_is_followed() -> None:
    snn, other = exact("strided"), exact("strided")
    for network in (snn, other):
        for layer in network.layers.values():
            if isinstance(layer, nn.Conv2d):
                weight_norm(layer)
    for name, parameter in other.named_parameters():
        if name.endswith("original0"):  # the norms of the weights
            parameter.mul_(4)
    fused = snn.fuse()
    before, wanted = fused(X), other.fuse()(X)
    given = {name: value.clone() for name, value in other.named_parameters()}
    assert torch.equal(torch.func.functional_call(fused, given, (X,)), wanted)
    assert torch.equal(fused(X), before)
    for name, parameter in fused.named_parameters():
        if name.endswith("original0"):
            parameter.mul_(4)
    assert torch.equal(fused(X), wanted)
    assert not torch.equal(wanted, before), "a change that changes nothing shows nothing"


@torch.no_grad()
def test_a_changed_constant_is_followed() -> None:
    snn, x = exact("scaled"), images(shape_of("scaled"), 4)
    fused = snn.fuse()
    before = fused(x)
    for network in (snn, fused):
        for constant in network.weights().values():
            constant.mul_(2)
    assert torch.equal(fused(x), snn.fuse()(x))
    assert not torch.equal(fused(x), before), "a change that changes nothing shows nothing"


@torch.no_grad()
def test_without_a_change_nothing_is_made_anew() -> None:
    fused = exact("strided").fuse()
    form = fused.integers
    assert form is not None
    first = form.for_run(5, batch_of([X]))
    fused(X)
    assert fused.integers is form
    again = form.for_run(5, batch_of([X]))
    assert all(one is other for one, other in zip(first, again, strict=True))


@torch.inference_mode()
def test_changes_are_followed_in_inference_mode_too() -> None:
    fused, other = exact("strided").fuse(), exact("strided", seed=1).fuse()
    fused(X)
    fused.load_state_dict(other.state_dict())
    assert torch.equal(fused(X), other(X))


@torch.no_grad()
def test_in_half_precision_a_copy_and_a_file_give_the_same_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fused = exact("strided").fuse()
    for parameter in fused.parameters():  # whatever float16 has to round
        parameter.add_(torch.rand_like(parameter))
    fused.half().save(tmp_path / "snn.safetensors")
    again = spikeconv.load(tmp_path / "snn.safetensors")
    x = X.half()
    assert torch.equal(again(x), fused(x))
    assert torch.equal(copy.deepcopy(fused)(x), fused(x))


def test_the_report_is_of_the_network_as_it_is() -> None:
    fused = exact("strided").fuse()
    second = list(fused.neurons)[1]
    assert fused.report().paths[second] == "int8"
    layer = next(one for one in fused.layers.values() if getattr(one, "out_channels", 0) == 9)
    layer.load_state_dict({name: p / 0 for name, p in layer.state_dict().items()})
    assert "is not finite" in fused.report().paths[second]


def test_options_of_a_layer() -> None:
    """A window that was changed is the one that is fused, whatever the layer was made with."""
    ann = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)),
    )
    x = torch.rand(8, 1, 8, 8)
    snn = spikeconv.convert(ann, x, T=8, method="opi", progress=False)
    fused = snn.fuse()
    before = fused(x)
    for network in (snn, fused):
        layer = network.layers["_2"]
        assert isinstance(layer, nn.Conv2d)
        layer.dilation, layer.padding = (2, 2), (2, 2)
    assert not torch.equal(fused(x), before)
    assert torch.equal(fused(x), snn.fuse(backend="reference")(x))
    assert relative_error(fused(x), snn(x)) < 0.05


def test_options_of_pools_and_norms() -> None:
    """And a plan is made once for a change, though what was changed is settled meanwhile."""
    ann = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3, 2, 1)),
        *(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)),
    )
    x = torch.rand(8, 1, 8, 8)
    fused = spikeconv.convert(ann, x, T=8, method="opi", progress=False).fuse()
    before = fused(x)
    pool = next(layer for layer in fused.layers.values() if isinstance(layer, nn.AvgPool2d))
    pool.count_include_pad = False
    assert not torch.equal(fused(x), before)
    convolution: Any = fused.layers["_3"]
    convolution.dilation = convolution.padding = 2
    fused(x)
    assert fused._form is not None
    kept = list(fused._form._plans.values())
    fused(x)
    assert all(one is other for one, other in zip(kept, fused._form._plans.values(), strict=True))
