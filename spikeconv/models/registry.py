"""Names of models, and the module that belongs to a configuration."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from spikeconv.models.resnet import ResNet
from spikeconv.models.resnet_config import (
    IMAGENET_STAGES,
    ResNetConfig,
    cifar_resnet,
    imagenet_resnet,
)
from spikeconv.models.vgg import VGG, VGG_STAGES, VGGConfig

Config = ResNetConfig | VGGConfig
"""The configuration of any model of this package."""

CIFAR_DEPTHS = (20, 32, 44, 56, 110)
MODEL_NAMES: tuple[str, ...] = (
    *(f"resnet{depth}" for depth in (*CIFAR_DEPTHS, *IMAGENET_STAGES)),
    *(f"vgg{depth}{suffix}" for depth in VGG_STAGES for suffix in ("", "_bn")),
)
"""The published models; resnet with any other depth 6n + 2 is known as well."""

MOST_DEPTH = 1202
"""Of a ResNet by name: the deepest that was published; `cifar_resnet` builds any."""

_NAME = re.compile(r"(?P<family>resnet|vgg)(?P<depth>\d+)(?P<bn>_bn)?")


def model_config(name: str, **options: Any) -> Config:
    """Return the configuration that a name stands for.

    Args:
        name: ``resnet20|32|44|56|110`` or another depth 6n + 2 (CIFAR form),
            ``resnet18|34|50|101|152`` (ImageNet form), ``vgg11|13|16|19`` with or without ``_bn``.
        **options: fields of the configuration that differ from the published ones, such as
            ``num_classes=100``; for a ResNet ``stem="cifar"`` gives the ImageNet form without its
            7x7 stem and pooling, for a VGG ``form="cifar"`` the form with one linear layer.

    Returns:
        A `ResNetConfig` or `VGGConfig`.

    Raises:
        ValueError: no such name, or an option that the model does not have.

    Example:
        >>> model_config("resnet56").blocks
        (9, 9, 9)
        >>> model_config("vgg16_bn", form="cifar", num_classes=100).num_classes
        100
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    config: Config | None = None
    if match is not None:
        depth = int(match["depth"])
        if match["family"] == "vgg" and depth in VGG_STAGES:
            config = VGGConfig(depth, batch_norm=match["bn"] is not None)
        elif match["family"] == "resnet" and match["bn"] is None:
            if depth in IMAGENET_STAGES:
                config = imagenet_resnet(depth)
            elif 8 <= depth <= MOST_DEPTH and (depth - 2) % 6 == 0:
                config = cifar_resnet(depth)
    if config is None:
        raise ValueError(
            f"model_config: name must be one of {', '.join(MODEL_NAMES)} or a "
            f"ResNet of 6 n + 2 layers, such as resnet8, got {name!r}"
        )
    return with_options(config, options)


def with_options(config: Config, options: dict[str, Any]) -> Config:
    """Return the configuration with some fields replaced; ValueError where it has none such."""
    fields = {field.name for field in dataclasses.fields(config)}
    if unknown := sorted(options.keys() - fields):
        raise ValueError(
            f"{config.name} has no option {', '.join(unknown)}; it has {', '.join(sorted(fields))}"
        )
    return dataclasses.replace(config, **options)


def build(config: Config) -> ResNet | VGG:
    """Return the module of a configuration, with fresh weights."""
    return ResNet(config) if isinstance(config, ResNetConfig) else VGG(config)


def build_model(name: str, **options: Any) -> ResNet | VGG:
    """Return an ANN by name, with fresh weights.

    Args:
        name: as in `model_config`.
        **options: as in `model_config`.

    Returns:
        The module; its configuration is ``model.config``.

    Raises:
        ValueError: as in `model_config`.

    Example:
        >>> sum(p.numel() for p in build_model("resnet20").parameters())
        269722
    """
    return build(model_config(name, **options))
