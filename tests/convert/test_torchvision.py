"""torchvision's networks as they stand, with random weights: each tends to its ANN, or is refused.

A random deep network with batch norm amplifies the least error by a factor of thousands; with
biases of 4 in its batch norms most rectifiers are open, and it amplifies as a trained one does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import vgg

from spikeconv.convert import ConversionError
from tests.convert.nets import converted, images, relative_error

# Relative error of the logits that is reached at T = 1024; the error falls as 1 / T.
WANTED = 0.02


def make(name: str, **options: bool) -> nn.Module:
    net: nn.Module = getattr(models, name)(weights=None, num_classes=10, **options)
    return net


def make_vgg(layers: str, *, batch_norm: bool) -> nn.Module:
    """Its classifier of 120 million weights becomes a small one of the same layers."""
    with torch.device("meta"):
        net = vgg.VGG(nn.Sequential(), init_weights=False)
    net.features = vgg.make_layers(vgg.cfgs[layers], batch_norm)
    for module in net.features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    net.classifier = nn.Sequential(
        nn.Linear(512 * 49, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10)
    )
    return net


def settled(net: nn.Module, x: Tensor) -> nn.Module:
    """With the statistics of images in its batch norms, and biases of 4."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = None
            norm.bias.fill_(4)
        if norms:
            net.train()(x)
    return net.eval()


inception = {"aux_logits": False, "init_weights": False}
# How it is made, how many rectifiers it calls, the size of its images, and steps: fewer where they
# are many or the network is large.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int, int]] = {
    "resnet18": (partial(make, "resnet18"), 17, 32, 1024),
    "resnet34": (partial(make, "resnet34"), 33, 32, 128),
    "resnet50": (partial(make, "resnet50"), 49, 32, 128),
    "wide_resnet50_2": (partial(make, "wide_resnet50_2"), 49, 32, 64),
    "resnext50_32x4d": (partial(make, "resnext50_32x4d"), 49, 32, 128),
    "vgg11": (partial(make_vgg, "A", batch_norm=False), 9, 32, 256),
    "vgg11_bn": (partial(make_vgg, "A", batch_norm=True), 9, 32, 256),
    "vgg13": (partial(make_vgg, "B", batch_norm=False), 11, 32, 128),
    "vgg13_bn": (partial(make_vgg, "B", batch_norm=True), 11, 32, 128),
    "vgg16": (partial(make_vgg, "D", batch_norm=False), 14, 32, 128),
    "vgg16_bn": (partial(make_vgg, "D", batch_norm=True), 14, 32, 128),
    "vgg19": (partial(make_vgg, "E", batch_norm=False), 17, 32, 64),
    "vgg19_bn": (partial(make_vgg, "E", batch_norm=True), 17, 32, 64),
    "alexnet": (partial(make, "alexnet"), 7, 63, 256),
    "densenet121": (partial(make, "densenet121"), 121, 32, 128),
    "googlenet": (partial(make, "googlenet", **inception), 58, 32, 128),
    "googlenet, transformed input": (
        partial(make, "googlenet", transform_input=True, **inception),
        *(58, 32, 128),
    ),
    "inception_v3": (
        partial(make, "inception_v3", transform_input=True, **inception),
        *(94, 75, 128),
    ),
    "mobilenet_v2": (partial(make, "mobilenet_v2"), 35, 32, 256),
    "mnasnet0_5": (partial(make, "mnasnet0_5"), 35, 32, 256),
    "mnasnet1_0": (partial(make, "mnasnet1_0"), 35, 32, 256),
    "squeezenet1_0": (partial(make, "squeezenet1_0"), 26, 32, 1024),
    "squeezenet1_1": (partial(make, "squeezenet1_1"), 26, 32, 1024),
    "shufflenet_v2_x0_5": (partial(make, "shufflenet_v2_x0_5"), 37, 32, 1024),
    "shufflenet_v2_x1_0": (partial(make, "shufflenet_v2_x1_0"), 37, 32, 256),
    "regnet_x_400mf": (partial(make, "regnet_x_400mf"), 67, 32, 128),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tends_to_the_ann(name: str) -> None:
    """The same function as an ANN, and an error of at most 0.02 at T = 1024, or 1024 / T of it."""
    build, neurons, size, T = NETWORKS[name]
    net, x = build(), images(8, 3, size, size)
    settled(net, x)
    snn = converted(net, x, T=2)
    assert len(snn.neurons) == neurons
    with torch.no_grad():
        wanted = net(x[:1])
        assert relative_error(snn.analog(x[:1]), wanted) < 1e-4
        assert relative_error(snn(x[:1], T=T), wanted) < WANTED * 1024 / T


@pytest.mark.parametrize(("seed", "threshold"), ((0, None), (1, "max")))
def test_headroom_of_many_steps(seed: int, threshold: str | None) -> None:
    """The paper's alone has errors of 0.019 and 0.022 in these two: neurons near their thresholds
    lack spikes for good, after 33 layers that settle one behind the other.
    """
    torch.manual_seed(seed)
    net, x = make("resnet34"), images(8, 3, 32, 32)
    settled(net, x)
    snn = converted(net, x, T=1024, threshold=threshold, method="best")
    assert snn.report().settings["headroom"] == 0.1
    with torch.no_grad():
        assert relative_error(snn(x[:1]), net(x[:1])) < 0.5 * WANTED


@pytest.mark.parametrize("name", ("squeezenet1_1", "shufflenet_v2_x0_5"))
def test_the_error_falls_as_one_over_time(name: str) -> None:
    """So a bound at fewer steps says what it would be at 1024."""
    build, _, size, _ = NETWORKS[name]
    net, x = build(), images(8, 3, size, size)
    snn = converted(settled(net, x), x, T=2)
    with torch.no_grad():
        few, more = (relative_error(snn(x[:1], T=T), net(x[:1])) for T in (64, 512))
    assert more < few / 3


@pytest.mark.parametrize(
    ("name", "problems", "first", "operations"),
    (
        (
            "regnet_y_400mf",
            32,
            "trunk_output.block1.block1-0.f.se.scale_activation",
            {"Sigmoid": 16, "operator.mul": 16},
        ),
        (
            "mobilenet_v3_small",
            37,
            "features.0.2",
            {"Hardswish": 19, "Hardsigmoid": 9, "operator.mul": 9},
        ),
    ),
)
def test_squeeze_and_excitation_is_refused_in_one_message(
    name: str, problems: int, first: str, operations: dict[str, int]
) -> None:
    """Every layer of it is named, with where torchvision calls it."""
    with pytest.raises(ConversionError) as caught:
        converted(make(name), images(2, 3, 32, 32))
    found = caught.value.problems
    assert len(found) == problems
    counted = {key: [p.operation for p in found].count(key) for key in operations}
    assert counted == operations
    assert found[0].path == first and "torchvision" in found[0].line
