"""Refusals that no single call shows: mixed images, hidden activations."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.convert.nets import Net, between, check, converted, images, refusal

MIXES = "mixes the images of a batch"


@pytest.mark.parametrize(
    "mixing",
    (
        lambda h: torch.cat([h, h], 0),
        lambda h: h - h.mean(0, keepdim=True),
        lambda h: h.flatten(0, 1).unflatten(0, (-1, 4)),
        lambda h: h.transpose(0, 1).transpose(0, 1),
        lambda h: h.flip(0),
        lambda h: h.roll(1),
        lambda h: h + h.sum(),
        lambda h: h[:1] + h,
        lambda h: h.view(-1)[:64].view(1, 4, 4, 4),
        lambda h: h / h.size(0),
        lambda h: torch.stack([h, h]).flatten(0, 1),
        lambda h: torch.stack([h, h]).sum(0, keepdim=True)[0],
        lambda h: h.repeat(2, 1, 1, 1),
    ),
)
@pytest.mark.parametrize("black", (False, True), ids=("noise", "black image first"))
def test_mixing_images(mixing: Any, black: bool) -> None:
    """Found whatever the first image is; what reads the mixture is not blamed as well."""
    x = images(32)
    x[0] *= not black
    problems = refusal(between(mixing), x)
    assert len(problems) == 1
    assert MIXES in problems[0].reason


def test_mixing_is_reported_together_with_the_rest() -> None:
    problems = refusal(between(lambda h: F.silu(h) - h.mean(0, keepdim=True)))
    assert [problem.operation for problem in problems] == [
        "torch.nn.functional.silu",
        "Tensor.mean",
    ]


def test_images_of_a_wrong_shape() -> None:
    """The call that fails on them is named."""
    (problem,) = refusal(Net(lambda s, x: s.head(F.relu(s.c1(x)))), images(4, 3, 8, 8))
    assert (problem.path, problem.operation) == ("c1", "Conv2d")
    assert "it fails on images [3, 8, 8] of the calibration data" in problem.reason
    assert "3 channels" in problem.reason


@pytest.mark.parametrize(
    "draw",
    (
        torch.randn_like,
        lambda h: torch.randn(h.shape),
        lambda h: torch.rand(h.shape[0], 4, 1, 1),
        lambda h: torch.randint(2, h.shape),
    ),
)
def test_random_numbers(draw: Any) -> None:
    (problem,) = refusal(between(lambda h: h + draw(h)))
    assert problem.reason.startswith("it draws random numbers; leave it out where self.training")


def test_random_numbers_that_nothing_reads() -> None:
    def body(s: Net, x: Tensor) -> Any:
        torch.rand(x.shape[0], 1)
        return s.head(F.relu(s.c1(x)))

    check(Net(body), neurons=1)


def test_an_input_that_is_a_dict() -> None:
    (problem,) = refusal(Net(lambda s, x: s.head(F.relu(s.c1(x["image"])))))
    assert "takes item 'image' of its input x" in problem.reason
    assert problem.line.startswith(__file__)


def test_a_layer_that_takes_a_stand_in_for_no_tensor() -> None:
    """As torchvision's transforms do, it gives back what it does not know."""

    class Transform(nn.Module):
        def forward(self, *inputs: Any) -> Any:
            changed = [x / 2 if type(x) is Tensor else x for x in inputs]
            return changed[0]

    (problem,) = refusal(nn.Sequential(Transform(), nn.Conv2d(2, 4, 3), nn.ReLU()))
    assert "transform images before the network" in problem.reason


def test_a_cast_is_as_exact_as_what_is_cast() -> None:
    """Of float32 a float64 has no more digits, and two images differ in the last from one."""
    for seed in range(4):
        torch.manual_seed(seed)
        net = Net(lambda s, x: s.head(F.relu(s.c1(x))).double().mean(1, dtype=torch.float64))
        assert converted(net)(images(2)).dtype == torch.float64


@pytest.mark.parametrize("name", ("global", "class", "in", "1x1", "a-b"))
def test_layers_of_any_name(name: str) -> None:
    """Some are no names that Python's code can say."""
    net = Net(lambda s, x: s.head(F.relu(s.layers[name](x) * s.factors[name])))
    net.layers = nn.ModuleDict({name: nn.Conv2d(2, 4, 3)})
    net.factors = nn.ParameterDict({name: nn.Parameter(torch.tensor(2.0))})
    assert check(net, neurons=1).report().rows
    named = nn.Sequential(OrderedDict({name: nn.Linear(4, 8), "lambda": nn.ReLU()}))
    check(named, images(32, 4), neurons=1)


def test_a_recurrent_layer() -> None:
    """It does not mix images, though its state has them in another dimension."""
    body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LSTM(4, 4, batch_first=True))
    (problem,) = refusal(body, images(4, 5, 4))
    assert (problem.path, problem.operation) == ("2", "LSTM")
    assert "a recurrent layer multiplies its gates" in problem.reason


class Remembers(nn.Module):
    """Its buffer changes at every call, before or after it is read, or without being read."""

    def __init__(self, reads: bool, first: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU())
        self.register_buffer("mean", torch.ones(3, 1, 1))
        self.reads, self.first = reads, first

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            self.mean.mul_(0.9)
        y = self.body(x) + self.mean if self.reads else self.body(x)
        if not self.first:
            self.mean.mul_(0.9)
        return y


@pytest.mark.parametrize("first", (False, True))
def test_what_a_call_leaves_for_the_next(first: bool) -> None:
    """A running mean that nobody reads at inference does no harm."""
    (problem,) = refusal(Remembers(reads=True, first=first))
    assert "two calls on the same images give different outputs" in problem.reason
    net, x = Remembers(reads=False, first=first), images(3)
    torch.testing.assert_close(converted(net).analog(x), net(x))


def test_hidden_activations_are_found() -> None:
    """In a hook, in a layer's subclass, in a fused layer: nothing analog is left unseen."""

    class Activated(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return F.silu(super().forward(input))

    class Patched(nn.Conv2d):
        def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return torch.tanh(super()._conv_forward(input, weight, bias))

    class OfALibrary(nn.Conv2d):
        """Like the layers of torch.ao, which torch.fx keeps whole as it does torch.nn's."""

        __module__ = "torch.nn.other"

        def forward(self, input: Tensor) -> Tensor:
            return F.silu(super().forward(input))

    hooked = nn.Conv2d(2, 4, 3)
    hooked.register_forward_hook(lambda module, args, output: torch.sigmoid(output))
    for layer, operation in (
        (Activated(2, 4, 3), "torch.nn.functional.silu"),
        (Patched(2, 4, 3), "torch.tanh"),
        (OfALibrary(2, 4, 3), "OfALibrary"),
        (hooked, "torch.sigmoid"),
    ):
        (problem,) = refusal(nn.Sequential(layer, nn.BatchNorm2d(4), nn.ReLU()))
        assert (problem.path, problem.operation) == ("0", operation)


def test_a_forward_replaced_from_outside() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    original = net[0].forward
    net[0].forward = lambda x: torch.tanh(original(x))
    (problem,) = refusal(net)
    assert problem.line.startswith(__file__)


def test_a_method_replaced_from_outside() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    original = net[2]._conv_forward
    net[2]._conv_forward = lambda x, w, b: torch.tanh(3 * original(x, w, b))
    (problem,) = refusal(net)
    assert (problem.path, problem.operation) == ("2", "torch.tanh")


@pytest.mark.parametrize("when", ("before", "after"))
def test_a_hook_on_all_modules(when: str) -> None:
    of_torch = nn.modules.module
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())

    def before(module: nn.Module, args: Any) -> Any:
        return torch.tanh(args[0]) if isinstance(module, nn.BatchNorm2d) else None

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        return torch.tanh(output) if isinstance(module, nn.Conv2d) else None

    handle = (
        of_torch.register_module_forward_pre_hook(before)
        if when == "before"
        else of_torch.register_module_forward_hook(after)
    )
    try:
        (problem,) = refusal(net)
    finally:
        handle.remove()
    assert problem.operation == "torch.tanh"


def test_what_no_graph_shows_is_found_by_comparing_outputs() -> None:
    net = Net(lambda s, x: s.head(F.relu(s.c1(x))) * (2 if type(x) is Tensor else 1))
    (problem,) = refusal(net)
    assert "gives other outputs than the network" in problem.reason


def test_a_network_that_is_converted_already() -> None:
    with pytest.raises(TypeError, match="is a SpikingNetwork already; give the ANN"):
        converted(converted(between(F.relu)))


@pytest.mark.parametrize("given", (None, lambda x: x, "resnet18", nn.ReLU))
def test_not_a_module(given: Any) -> None:
    with pytest.raises(TypeError, match=r"ann must be a torch\.nn\.Module"):
        converted(given)
