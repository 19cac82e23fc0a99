"""Which network is trained on which data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from spikeconv.data import Dataset, ImageSet
from spikeconv.train.network import check_fit, network_config


def dataset(name: str, channels: int, size: int, classes: int) -> Dataset:
    images = ImageSet(torch.zeros(1, channels, size, size, dtype=torch.uint8), torch.zeros(1))
    return Dataset(name, tuple(map(str, range(classes))), images, images)


CIFAR = dataset("cifar100", 3, 32, 100)
DIGITS = dataset("digits", 1, 8, 10)
PHOTOS = dataset("imagenet", 3, 224, 1000)


@pytest.mark.parametrize(
    ("model", "data", "wanted"),
    [
        ("resnet20", CIFAR, {"name": "resnet20", "stem": "cifar", "shortcut": "A"}),
        ("resnet18", CIFAR, {"name": "resnet18", "stem": "cifar", "pooling": "max"}),
        ("vgg16", CIFAR, {"name": "vgg16_bn", "form": "cifar", "pooling": "avg"}),
        ("vgg16_bn", CIFAR, {"name": "vgg16_bn", "form": "cifar", "pooling": "avg"}),
        ("vgg16", DIGITS, {"name": "vgg16_bn", "form": "cifar", "pools": 3}),
        ("vgg11", CIFAR, {"name": "vgg11_bn", "pools": 5}),
        ("resnet8", DIGITS, {"name": "resnet8", "in_channels": 1, "num_classes": 10}),
        ("resnet34", PHOTOS, {"name": "resnet34", "stem": "imagenet", "pooling": "avg"}),
        ("vgg16", PHOTOS, {"name": "vgg16_bn", "form": "imagenet", "pooling": "avg"}),
    ],
)
def test_the_form_fits_the_images(model: str, data: Dataset, wanted: dict[str, Any]) -> None:
    config = network_config(model, data, "qcfs", 8)
    assert {field: getattr(config, field) for field in wanted} == wanted
    assert (config.num_classes, config.activation, config.levels) == (len(data.classes), "qcfs", 8)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("resnet20", PHOTOS, "resnet20 is made for images of 32 x 32 .* one of resnet18, resnet34"),
        ("alexnet", CIFAR, "name must be one of resnet20, .*, got 'alexnet'"),
    ],
)
def test_what_does_not_go_together_is_refused(model: str, data: Dataset, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network_config(model, data, "relu", 4)


def test_a_vgg_of_small_images_ends_at_one_pixel(tmp_path: Path) -> None:
    """8 x 8 pixels are halved three times, and the file of weights says so."""
    from spikeconv.models import VGG, VGGConfig, load_model
    from spikeconv.models.registry import build
    from spikeconv.models.weights import Weights, write_weights

    net = build(network_config("vgg11", DIGITS, "relu", 4)).eval()
    images = torch.rand(2, 1, 8, 8)
    assert isinstance(net, VGG) and net.features(images).shape == (2, 512, 1, 1)
    about = {"model": net.config.name, "config": asdict(net.config)}
    write_weights(tmp_path / "vgg.safetensors", Weights(net.state_dict(), about))
    again = load_model(tmp_path / "vgg.safetensors")
    assert torch.equal(again(images), net(images))
    for pools in (-1, 6):
        with pytest.raises(ValueError, match="pools must be from 0 to 5, got"):
            VGGConfig(11, pools=pools)


def test_an_unknown_activation_is_refused() -> None:
    from spikeconv.models.registry import build

    with pytest.raises(ValueError, match="must be 'relu', 'clip' or 'qcfs', got 'gelu'"):
        build(network_config("resnet8", DIGITS, "gelu", 4))


def test_weights_of_other_classes_are_refused_by_the_first_that_differs() -> None:
    config = network_config("resnet8", DIGITS, "relu", 4)
    swapped = ["0", "2", "1", *map(str, range(3, 10))]
    check_fit("w.safetensors", config, {}, DIGITS)  # of another origin, or of before they were said
    check_fit("w.safetensors", config, {"classes": sorted(swapped)}, DIGITS)
    with pytest.raises(ValueError, match=r"w\.safetensors: wanted .* class 1 is '1', found .* '2'"):
        check_fit("w.safetensors", config, {"classes": swapped}, DIGITS)
