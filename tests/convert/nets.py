"""Small networks whose forward a test writes, and what is asked of every conversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from spikeconv.convert import ConversionError, Problem, SpikingNetwork
from spikeconv.network.structure import map_tensors, tensors
from tests.helpers import assert_same

Body = Callable[["Net", Tensor], Any]


class Net(nn.Module):
    """Layers for images `[B, 2, 8, 8]` and three classes, joined by a body that a test writes.

    c1 and c2 follow each other, both keep the size; other layers come as keywords.
    """

    c1: nn.Conv2d
    c2: nn.Conv2d
    fc: nn.Linear

    def __init__(self, body: Body, **layers: Any) -> None:
        super().__init__()
        self.body = body
        self.c1 = nn.Conv2d(2, 4, 3, padding=1)
        self.c2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)

    def head(self, h: Tensor) -> Any:
        """Logits of feature maps `[B, 4, *, *]`."""
        return self.fc(h.mean((2, 3)))


def images(count: int = 8, *shape: int) -> Tensor:
    """Normal noise, of eighths, `[count, 2, 8, 8]` where no other shape is given."""
    return (torch.randn(count, *(shape or (2, 8, 8))) * 8).round() / 8


def settled(net: nn.Module) -> nn.Module:
    """The network with statistics and weights in its batch norms as training leaves them."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            with torch.no_grad():
                if module.running_mean is not None and module.running_var is not None:
                    module.running_mean.normal_(0, 0.3)
                    module.running_var.uniform_(0.5, 2)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.2)
    return net


def converted(net: nn.Module, x: Tensor | None = None, **options: Any) -> SpikingNetwork:
    """`spikeconv.convert` on 32 images, or x, quietly."""
    x = images(32) if x is None else x
    return spikeconv.convert(
        net, x, **{"progress": False, "method": "opi", "threshold": "max", **options}
    )


def relative_error(actual: Any, wanted: Any) -> float:
    """||actual - wanted|| / ||wanted|| over all tensors of an output."""
    a = torch.cat([tensor.detach().flatten().double() for tensor in tensors(actual)])
    b = torch.cat([tensor.detach().flatten().double() for tensor in tensors(wanted)])
    return float((a - b).norm() / b.norm())


def check(net: nn.Module, x: Tensor | None = None, *, neurons: int, T: int = 256) -> SpikingNetwork:
    """Convert, with so many neuron layers, to what computes the same: as ANN, and in T steps."""
    x = images(32) if x is None else x
    with torch.no_grad():
        wanted = net.eval()(x[:8].clone())
    snn = converted(net, x)
    assert len(snn.neurons) == neurons
    with torch.no_grad():
        torch.testing.assert_close(snn.analog(x[:8]), wanted)
        assert relative_error(snn(x[:8], T=T), wanted) < 0.02
    return snn


def dyadic(net: nn.Module, x: Tensor | None = None, **options: Any) -> SpikingNetwork:
    """A conversion with weights of sixteenths and thresholds of eighths, v_init half of them.

    Sums of products of such numbers are exact in float32, in whatever order they are taken.
    """
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_((parameter * 16).round() / 16)
        snn = converted(net, x, **options)
        for node in snn.populations().values():
            node.v_threshold.copy_((node.v_threshold * 8).ceil() / 8)
            node.v_init.copy_(node.v_threshold / 2)
    return snn


def assert_same_output(actual: Any, expected: Any, what: str = "") -> None:
    """Outputs of equal structure with equal bits."""
    assert type(actual) is type(expected)
    pairs = list(zip(tensors(actual), tensors(expected), strict=True))
    assert pairs
    for a, b in pairs:
        assert_same(a, b, what)


def assert_close(actual: Any, expected: Any) -> None:
    """Outputs of equal structure, equal but for rounding."""
    assert type(actual) is type(expected)
    for a, b in zip(tensors(actual), tensors(expected), strict=True):
        torch.testing.assert_close(a, b)


def assert_same_running(actual: Any, expected: Any) -> None:
    """Running means ``[8, B, *]`` of equal bits after 1, 2, 4 and 8 steps.

    Thirds and their like are inexact, and then a layer may give other bits in another batch size.
    """
    assert_close(actual, expected)
    powers = [0, 1, 3, 7]
    exact = [map_tensors(lambda y: y[powers], output) for output in (actual, expected)]
    assert_same_output(*exact)


def between(function: Any) -> Net:
    """A network with a function of feature maps `[B, 4, 8, 8]` between two rectifiers."""
    return Net(lambda s, x: s.head(F.relu(s.c2(function(F.relu(s.c1(x)))))))


def refusal(net: nn.Module, x: Tensor | None = None) -> tuple[Problem, ...]:
    """The problems for which a network is refused."""
    with pytest.raises(ConversionError) as caught:
        converted(net, x)
    return caught.value.problems
