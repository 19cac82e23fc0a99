"""Layers that a forward makes itself, or keeps where torch does not find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.convert.nets import Net, assert_same_output, check, converted, images, refusal

# Layers made within, and the functions that they are.
Layer = Callable[[Any], Any]
MADE: dict[str, tuple[Layer, Layer]] = {
    "relu": (lambda h: nn.ReLU()(h), F.relu),
    "in place": (lambda h: nn.ReLU(inplace=True)(h), F.relu),
    "capped": (lambda h: nn.ReLU6()(h), F.relu6),
    "hardtanh": (lambda h: nn.Hardtanh(0, 2)(h), lambda h: F.hardtanh(h, 0, 2)),
    "threshold": (lambda h: nn.Threshold(0, 0)(h), F.relu),
    "max pool": (lambda h: nn.MaxPool2d(2)(nn.ReLU()(h)), lambda h: F.max_pool2d(F.relu(h), 2)),
    "mean": (
        lambda h: nn.AdaptiveAvgPool2d(2)(nn.ReLU()(nn.ZeroPad2d(1)(h))),
        lambda h: F.adaptive_avg_pool2d(F.relu(F.pad(h, (1, 1, 1, 1))), 2),
    ),
    "upsampled": (
        lambda h: nn.Upsample(scale_factor=2)(F.relu(h)),
        lambda h: F.interpolate(F.relu(h), scale_factor=2),
    ),
    "several": (lambda h: nn.Sequential(nn.ReLU(), nn.Sequential(nn.Identity()))(h), F.relu),
}


def body(layer: Layer) -> Net:
    def forward(s: Net, x: Tensor) -> Any:
        return s.head(F.relu(s.c2(layer(s.c1(x)))))

    return Net(forward)


@pytest.mark.parametrize("name", MADE)
def test_a_layer_made_in_forward_is_its_function(name: str) -> None:
    made, function = map(body, MADE[name])
    function.load_state_dict(made.state_dict())
    calibration, x = images(32), images(4)
    snn = converted(made, calibration)
    assert_same_output(snn(x), converted(function, calibration)(x))
    assert len(snn.populations()) == 2


def test_what_is_made_around_layers_of_the_network_calls_these() -> None:
    def body(s: Net, x: Tensor) -> Any:
        return s.head(nn.Sequential(s.c1, nn.ReLU(), nn.Sequential(s.c2, s.act))(x))

    snn = check(Net(body, act=nn.ReLU()), neurons=2)
    assert {"c1", "c2"} <= snn.layers.keys()


def test_a_layer_in_a_list_without_weights() -> None:
    check(Net(lambda s, x: s.head(s.kept[0](s.c1(x))), kept=[nn.ReLU()]), neurons=1)


def test_a_layer_made_where_the_flow_depends_on_shapes() -> None:
    check(Net(lambda s, x: s.head(nn.ReLU()(s.c1(x)) if x.shape[2] > 4 else s.c1(x))), neurons=1)


@pytest.mark.parametrize(
    "layer", (nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.PReLU())
)
@pytest.mark.parametrize("by_shape", (False, True))
def test_weights_that_are_no_part_of_the_network(layer: nn.Module, by_shape: bool) -> None:
    """They are in no state dict, so what would be converted is not what was trained."""

    def forward(s: Net, x: Tensor) -> Any:
        h = s.c1(x)
        if by_shape and x.shape[2] < 4:
            h = s.c2(h)
        return s.head(F.relu(s.kept[0](h)))

    (problem,) = refusal(Net(forward, kept=[layer]))
    assert problem.operation == type(layer).__name__
    assert problem.line.startswith(__file__)
    assert "make it in __init__" in problem.reason


def test_names_are_those_of_the_documentation() -> None:
    """Not those of the functions behind: torch.nn.functional._threshold, torch._C._nn.softplus."""
    for function, name in (
        (lambda h: F.threshold(h, 0.1, 0), "torch.nn.functional.threshold"),
        (lambda h: F.softplus(h), "torch.nn.functional.softplus"),
        (lambda h: F.gelu(h), "torch.nn.functional.gelu"),
        (lambda h: torch.prelu(h, torch.ones(1)), "torch.prelu"),
    ):
        (problem,) = refusal(body(function))
        assert problem.operation == name
