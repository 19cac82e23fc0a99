"""Every spelling of a rectifier becomes neurons, one population per call site."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import ConversionError
from tests.convert.nets import Net, check, converted, images


class OwnReLU(nn.ReLU):
    """Another name."""


class OwnForward(nn.ReLU):
    """A forward of its own that computes the same."""

    def forward(self, input: Tensor) -> Tensor:
        return input.clamp(min=0)


class CallsBase(nn.ReLU):
    """A forward that adds nothing."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


class CallsFunction(nn.ReLU):
    """A forward that says it once more, with an attribute of the class."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.inplace)


RELU: dict[str, nn.Module | Callable[[Any], Any]] = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU inplace": nn.ReLU(inplace=True),
    "subclass": OwnReLU(),
    "subclass with forward": OwnForward(),
    "subclass that calls its base": CallsBase(),
    "subclass that calls F.relu": CallsFunction(),
    "nn.Threshold": nn.Threshold(0, 0),
    "nn.LeakyReLU of slope 0": nn.LeakyReLU(0),
    "F.leaky_relu of slope 0": lambda h: F.leaky_relu(h, 0.0),
    "F.leaky_relu inplace": lambda h: F.leaky_relu(h, 0, True),
    "F.relu": F.relu,
    "F.relu inplace": lambda h: F.relu(h, inplace=True),
    "F.relu by name": lambda h: F.relu(input=h),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda h: h.relu(),
    "Tensor.relu_": lambda h: h.relu_(),
    "F.threshold": lambda h: F.threshold(h, 0, 0),
    "F.threshold by name": lambda h: F.threshold(h, threshold=0.0, value=0.0),
    "F.threshold inplace": lambda h: F.threshold(h, 0, 0, True),
    "F.threshold_": lambda h: F.threshold_(h, 0, 0),
    "torch.threshold": lambda h: torch.threshold(h, 0, 0),
    "torch.clamp": lambda h: torch.clamp(h, min=0),
    "torch.clamp by position": lambda h: torch.clamp(h, 0),
    "torch.clamp_": lambda h: torch.clamp_(h, min=0),
    "torch.clip": lambda h: torch.clip(h, min=0.0),
    "torch.clamp_min": lambda h: torch.clamp_min(h, 0),
    "Tensor.clamp": lambda h: h.clamp(min=0),
    "Tensor.clamp, no upper bound": lambda h: h.clamp(0, None),
    "Tensor.clamp_": lambda h: h.clamp_(0),
    "Tensor.clip": lambda h: h.clip(0),
    "Tensor.clip_": lambda h: h.clip_(0),
    "Tensor.clamp_min": lambda h: h.clamp_min(0),
    "Tensor.clamp_min_": lambda h: h.clamp_min_(0),
    "torch.clamp, a tensor": lambda h: torch.clamp(h, min=torch.zeros(())),
    "torch.maximum": lambda h: torch.maximum(h, torch.zeros(())),
    "torch.maximum, other order": lambda h: torch.maximum(torch.zeros(1), h),
    "torch.maximum of zeros_like": lambda h: torch.maximum(h, torch.zeros_like(h)),
    "torch.max": lambda h: torch.max(h, h.new_zeros(1)),
    "Tensor.maximum": lambda h: h.maximum(torch.zeros(())),
    "torch.where": lambda h: torch.where(h > 0, h, 0.0),
    "torch.where at or above": lambda h: torch.where(h >= 0, h, torch.zeros_like(h)),
    "torch.where full_like": lambda h: torch.where(h > 0, h, torch.full_like(h, 0)),
    "torch.where below": lambda h: torch.where(h < 0, 0.0, h),
    "Tensor.where": lambda h: h.where(h.gt(0), torch.zeros(())),
    "masked_fill": lambda h: h.masked_fill(h < 0, 0),
    "masked_fill_": lambda h: h.masked_fill_(torch.le(h, 0), 0),
    "times its sign test": lambda h: h * (h > 0),
    "times its sign test in float": lambda h: (h > 0).to(h.dtype) * h,
    "after casts": lambda h: F.relu(h.float().to(h.dtype).type_as(h)),
}
CAPPED: dict[str, tuple[float, nn.Module | Callable[[Any], Any]]] = {
    "nn.ReLU6": (6, nn.ReLU6()),
    "nn.ReLU6 inplace": (6, nn.ReLU6(inplace=True)),
    "nn.Hardtanh": (0.4, nn.Hardtanh(0, 0.4)),
    "F.relu6": (6, F.relu6),
    "F.relu6 inplace": (6, lambda h: F.relu6(h, True)),
    "F.hardtanh": (0.4, lambda h: F.hardtanh(h, 0, 0.4)),
    "F.hardtanh by name": (0.4, lambda h: F.hardtanh(h, min_val=0, max_val=0.4)),
    "F.hardtanh inplace": (0.4, lambda h: F.hardtanh(h, 0, 0.4, True)),
    "F.hardtanh_": (0.4, lambda h: F.hardtanh_(h, 0, 0.4)),
    "torch.clamp": (0.4, lambda h: torch.clamp(h, 0, 0.4)),
    "Tensor.clamp": (0.4, lambda h: h.clamp(min=0, max=0.4)),
    "Tensor.clamp_": (0.4, lambda h: h.clamp_(0.0, 0.4)),
    "bound after": (0.4, lambda h: F.relu(h).clamp(max=0.4)),
    "bound before": (0.4, lambda h: F.relu(h.clamp_max(0.4))),
    "bounds, the least holds": (0.4, lambda h: F.relu6(h).clamp(max=0.4).clamp_max(0.8)),
    "torch.minimum": (0.5, lambda h: torch.minimum(F.relu(h), torch.full((1,), 0.5))),
    "torch.min with ones_like": (1.0, lambda h: torch.min(F.relu(h), torch.ones_like(h))),
    "torch.min": (0.5, lambda h: torch.min(torch.tensor(0.5), torch.relu(h))),
}


def twice(activation: nn.Module | Callable[[Any], Any]) -> Net:
    """The activation at two call sites, the first on currents large enough to meet a cap of 6."""

    def body(s: Net, x: Tensor) -> Any:
        return s.head(s.activation(s.c2(s.activation(s.c1(x * 4)))))

    return Net(body, activation=activation)


@pytest.mark.parametrize("name", RELU)
def test_relu(name: str) -> None:
    snn = check(twice(RELU[name]), neurons=2)
    assert all(math.isinf(snn.layers[step.name].cap) for step in snn.program.neurons())


@pytest.mark.parametrize("name", CAPPED)
def test_capped(name: str) -> None:
    cap, activation = CAPPED[name]
    snn = check(twice(activation), neurons=2)
    assert [snn.layers[step.name].cap for step in snn.program.neurons()] == [cap, cap]


@pytest.mark.parametrize(
    "activation",
    (
        nn.Hardtanh(),
        nn.Hardtanh(-0.5, 1),
        nn.Threshold(0.1, 0),
        nn.Threshold(0, 1),
        lambda h: F.threshold(h, 0.1, 0.0),
        lambda h: h.clamp(max=1),
        lambda h: h.clamp(min=0.1),
        lambda h: h.clamp(-1, 1),
        lambda h: F.hardtanh(h),
        lambda h: torch.clamp(h, min=torch.tensor([0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0])),
        lambda h: torch.maximum(h, torch.tensor(0.1)),
        lambda h: torch.maximum(h[..., :1], torch.zeros(8)),
        lambda h: torch.where(h > 0, 1.0, 0.0),
        lambda h: torch.where(h.flip(1) > 0, h, 0.0),
        lambda h: torch.where(h > 0.1, h, 0.0),
        lambda h: F.leaky_relu(h),
        lambda h: torch.minimum(h, torch.tensor(0.5)),
    ),
)
def test_what_only_looks_like_one_is_refused(activation: nn.Module | Callable[[Any], Any]) -> None:
    with pytest.raises(ConversionError, match="neither as linear nor as a ReLU") as refusal:
        converted(twice(activation))
    assert len(refusal.value.problems) >= 2


def test_reused_module_has_a_population_per_call_site() -> None:
    """Two call sites of one ReLU: two thresholds, two entries in the report, state of their own."""
    net = nn.Sequential(nn.Conv2d(2, 4, 3), relu := nn.ReLU(), nn.Conv2d(4, 4, 3), relu)
    snn = check(net, neurons=2)
    first, second = snn.populations().values()
    assert first is not second
    assert not torch.equal(first.v_threshold, second.v_threshold)
    assert [row.layer for row in snn.report().rows] == ["1", "1 (2)"]


def test_a_bound_that_was_trained() -> None:
    """Written by hand with a parameter: the cap is its value, and marked as trained."""
    bound = nn.Parameter(torch.tensor(0.4))
    net = Net(lambda s, x: s.head(torch.minimum(F.relu(s.c1(x)), s.bound)), bound=bound)
    snn = check(net, neurons=1)
    (rectifier,) = (snn.layers[step.name] for step in snn.program.neurons())
    assert rectifier.cap == bound.item() and rectifier.trained
    (node,) = snn.populations().values()
    assert node.v_threshold.max() <= bound.item()


def test_a_rectifier_read_with_and_without_its_bound() -> None:
    """Two populations then: what is cut off for one reader is not for the other."""

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.c1(x))
        return s.head(h.clamp(max=0.3)) + s.head(h)

    snn = check(Net(body), neurons=2)
    assert sorted(snn.layers[step.name].cap for step in snn.program.neurons()) == [0.3, math.inf]


def test_neurons_without_channels() -> None:
    """One value an image is a population of one neuron."""
    snn = check(Net(lambda s, x: F.relu(s.c1(x).mean((1, 2, 3)) + 0.1)), neurons=1)
    assert next(snn.program.neurons()).shape == ()
    assert snn(images(5)).shape == (5,)
