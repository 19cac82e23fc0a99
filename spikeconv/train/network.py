"""Which network is trained on which data: average pooling, and the form that fits the images.

And whether weights that are there are for such data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikeconv.data import Dataset
from spikeconv.models.registry import Config, model_config
from spikeconv.models.resnet_config import IMAGENET_STAGES, ResNetConfig
from spikeconv.models.vgg import VGGConfig

_LARGE = ("imagenet", "folder")


def network_config(model: str, data: Dataset, activation: str, levels: int) -> Config:
    """Return the configuration that is trained for a dataset.

    ResNets of four stages (18, 34, 50, ...) get the CIFAR stem for small images and an average
    pool after the ImageNet stem; VGGs get batch norm and average pooling, for small images the head
    of one linear layer, and no pool where one pixel is left.

    Args:
        model: a name as `spikeconv.models.model_config` takes it; ``vgg16`` is ``vgg16_bn`` here.
        data: gives classes, channels and the size of the images.
        activation: ``"relu"``, ``"clip"`` or ``"qcfs"``.
        levels: of ``"qcfs"``.

    Raises:
        ValueError: an unknown name, or a network that does not go with such images.
    """
    channels, size = data.image_shape[0], min(data.image_shape[1:])
    options = {
        "num_classes": len(data.classes),
        "in_channels": channels,
        "activation": activation,
        "levels": levels,
    }
    large = data.name in _LARGE
    config = model_config(model)
    if isinstance(config, VGGConfig):
        name = f"vgg{config.depth}_bn"
        form = "imagenet" if large else "cifar"
        pools = min(config.pools, size.bit_length() - 1)  # until one pixel is left
        return model_config(name, form=form, pooling="avg", pools=pools, **options)
    if _has_four_stages(config):
        return model_config(
            model, **options, **({"pooling": "avg"} if large else {"stem": "cifar"})
        )
    if large:
        stages = ", ".join(f"resnet{depth}" for depth in IMAGENET_STAGES)
        raise ValueError(
            f"train: {model} is made for images of 32 x 32 pixels, and those of {data.name} are "
            f"read with {size} x {size}; train one of {stages} or a vgg"
        )
    return model_config(model, **options)


def check_fit(path: str | Path, config: Config, about: Mapping[str, Any], data: Dataset) -> None:
    """Make sure that weights and dataset belong together.

    Args:
        path: of the weights.
        config: theirs.
        about: what they say of themselves; names of classes are compared if they are there.
        data: what the network will be given.

    Raises:
        ValueError: other channels or classes than the dataset's.
    """
    channels = data.image_shape[0]
    if (config.num_classes, config.in_channels) != (len(data.classes), channels):
        raise ValueError(
            f"{path}: wanted a network for {data.name} ({channels} input channels, "
            f"{len(data.classes)} classes), found {config}"
        )
    named = about.get("classes", data.classes)
    for label, (ours, theirs) in enumerate(zip(data.classes, named, strict=False)):
        if theirs != ours:
            raise ValueError(
                f"{path}: wanted a network for {data.name}, whose class {label} is {ours!r}, "
                f"found one that was trained with {theirs!r} as class {label}"
            )


def _has_four_stages(config: ResNetConfig) -> bool:
    return config.stem == "imagenet"
