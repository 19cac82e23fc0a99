"""torchvision's ReLU networks as they stand: each computes the same, and spikes.

Their own classes with few channels or blocks where they have arguments for that.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import densenet, mobilenet, regnet, resnet, vgg

from spikeconv.convert import ConversionError
from tests.convert.nets import converted, images, relative_error, settled


def vgg_bn() -> nn.Module:
    """Its classifier of 120 million weights becomes a small one of the same layers."""
    layers: list[str | int] = [8, "M", 8, 8, "M", 16, "M"]
    with torch.device("meta"):
        net = vgg.VGG(vgg.make_layers(layers, batch_norm=True), init_weights=False)
    net.classifier = nn.Sequential(
        nn.Linear(16 * 49, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10)
    )
    net.to_empty(device="cpu")
    for module in net.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return net


def tiny_regnet() -> nn.Module:
    parameters = regnet.BlockParams.from_init_params(2, 8, 4.0, 2.0, 8)
    return regnet.RegNet(parameters, num_classes=10, stem_width=8)


# The network, and how many rectifiers it calls.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (models.resnet18, 17),
    "resnet with bottlenecks": (lambda: resnet.ResNet(resnet.Bottleneck, [1, 2, 1, 1]), 16),
    "resnext": (
        lambda: resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], groups=4, width_per_group=4),
        13,
    ),
    "vgg": (vgg_bn, 5),
    "squeezenet": (models.squeezenet1_1, 26),
    "mobilenet_v2": (lambda: mobilenet.MobileNetV2(width_mult=0.25), 35),
    "mnasnet": (lambda: models.MNASNet(0.25), 35),
    "shufflenet_v2": (models.shufflenet_v2_x0_5, 37),
    "densenet": (lambda: densenet.DenseNet(8, (2, 2), 16), 11),
    "regnet": (tiny_regnet, 7),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_computes_the_same(name: str) -> None:
    make, neurons = NETWORKS[name]
    net, x = settled(make()).eval(), images(2, 3, 32, 32)
    snn = converted(net, x, T=2)
    assert len(snn.neurons) == neurons
    with torch.no_grad():
        assert relative_error(snn.analog(x), net(x)) < 1e-4
    assert snn(x).isfinite().all()


def test_networks_of_other_activations_are_refused_with_all_of_them() -> None:
    with pytest.raises(ConversionError) as caught:
        converted(models.mobilenet_v3_small(), images(2, 3, 32, 32))
    operations = [problem.operation for problem in caught.value.problems]
    assert operations.count("Hardswish") == 19
    assert operations.count("Hardsigmoid") == operations.count("operator.mul") == 9
    assert len(operations) == 37
    first = caught.value.problems[0]
    assert first.path == "features.0.2"
    assert "torchvision" in first.line
