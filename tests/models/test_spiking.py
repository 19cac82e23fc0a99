"""SpikingResNet and SpikingVGG: what they take, and what they refuse."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import spikeconv
from spikeconv.models import SpikingResNet, SpikingVGG, build_model


class StrangersResNet(nn.Module):
    """A residual network that shares nothing with ours: functional calls, one reused ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(2))
        self.act = nn.ReLU()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = self.norms[1](self.body[1](self.act(self.norms[0](self.body[0](x)))))
        y += x
        return self.head(self.act(y).mean((2, 3)))


def strangers_vgg() -> nn.Module:
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1350, 4)]
    return nn.Sequential(*layers)


def tiny_bottleneck() -> nn.Module:
    bottleneck = torchvision.models.resnet.Bottleneck
    return torchvision.models.ResNet(bottleneck, [1, 1, 1, 1], num_classes=4)


RESIDUAL = {
    "option A": lambda: build_model("resnet8", widths=(4, 8, 8)),
    "option B": lambda: build_model("resnet8", widths=(4, 8, 8), shortcut="B"),
    "ImageNet form": lambda: build_model("resnet18", num_classes=4),
    "torchvision's bottlenecks": tiny_bottleneck,
    "a stranger's": StrangersResNet,
}
PLAIN = {
    "CIFAR form": lambda: build_model("vgg11_bn", form="cifar", num_classes=4),
    "average pooling": lambda: build_model("vgg11", form="cifar", num_classes=4, pooling="avg"),
    "a stranger's": strangers_vgg,
}


def check(cls: type[SpikingResNet] | type[SpikingVGG], ann: nn.Module) -> None:
    """The network is of the class, runs, and is the ANN where its neurons act as rectifiers."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 32, 32)
    snn = cls.from_ann(ann, x, T=3, method="opi", progress=False)
    assert type(snn) is cls and isinstance(snn, spikeconv.SpikingNetwork)
    assert snn.T == 3
    with torch.no_grad():
        expected = ann.eval()(x)
        torch.testing.assert_close(snn.analog(x), expected, rtol=1e-3, atol=1e-3)
        assert snn(x, readout="all").shape == (3, *expected.shape)


@pytest.mark.parametrize("name", RESIDUAL)
def test_residual_networks(name: str) -> None:
    ann = RESIDUAL[name]()
    check(SpikingResNet, ann)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_networks(name: str) -> None:
    ann = PLAIN[name]()
    check(SpikingVGG, ann)


def test_the_wrong_kind_is_refused_with_the_right_class() -> None:
    x = torch.randn(2, 3, 32, 32)
    with pytest.raises(TypeError, match=r"must have residual additions .* use SpikingVGG"):
        SpikingResNet.from_ann(strangers_vgg(), x, T=2, progress=False)
    with pytest.raises(
        TypeError, match=r"must have no residual addition, found 1, .*SpikingResNet"
    ):
        SpikingVGG.from_ann(StrangersResNet(), x, T=2, progress=False)
    with pytest.raises(TypeError, match=r"found 3, the first at layer1\.0\.add"):
        SpikingVGG.from_ann(build_model("resnet8", widths=(4, 4, 4)), x, T=2, progress=False)


def test_a_constant_that_is_added_is_no_residual_addition() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = strangers_vgg()
            self.shift = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) + self.shift + 1

    x = torch.randn(2, 3, 32, 32)
    assert type(SpikingVGG.from_ann(Shifted(), x, T=2, progress=False)) is SpikingVGG
    with pytest.raises(TypeError, match="found none"):
        SpikingResNet.from_ann(Shifted(), x, T=2, progress=False)


def test_options_reach_the_conversion() -> None:
    x = torch.randn(4, 3, 32, 32)
    snn = SpikingVGG.from_ann(
        strangers_vgg(),
        x,
        T=2,
        v_init="zero",
        granularity="layer",
        threshold="max",
        corrections=(),
        progress=False,
    )
    (node,) = snn.neurons.values()
    assert node.v_threshold.numel() == 1
    assert float(node.v_init.abs().max()) == 0
