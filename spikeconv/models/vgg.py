"""VGG networks in their ImageNet and CIFAR forms, with torchvision's attribute names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from spikeconv.activation import describe, make_activation

VGG_STAGES: dict[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Depth -> convolutions in each of the five stages; as published, a pooling layer ends each."""

WIDTHS = (64, 128, 256, 512, 512)


@dataclass(frozen=True)
class VGGConfig:
    """Everything that determines a `VGG`.

    Args:
        depth: 11, 13, 16 or 19, the name of the column in the paper; the CIFAR form keeps it
            although two of the three linear layers are gone.
        batch_norm: batch norm after each convolution.
        form: ``"imagenet"`` (three linear layers, 4096 wide, with dropout) or ``"cifar"`` (one).
        pooling: ``"max"`` as published or ``"avg"``.
        pools: stages that end in a pool, from the first on: 5 as published, fewer for images of
            less than 32 pixels.
        num_classes: width of the head.
        in_channels: channels of the images.
        dropout: share of values dropped in the ImageNet head while training, in [0, 1).
        activation: ``"relu"``, ``"clip"`` (a trained bound) or ``"qcfs"`` (a trained step).
        levels: of ``"qcfs"``, 1 or more.
    """

    depth: int
    batch_norm: bool = False
    form: str = "imagenet"
    pooling: str = "max"
    num_classes: int = 1000
    in_channels: int = 3
    dropout: float = 0.5
    activation: str = "relu"
    levels: int = 4
    pools: int = 5

    def __post_init__(self) -> None:
        if self.depth not in VGG_STAGES:
            raise ValueError(
                f"VGGConfig: depth must be one of {sorted(VGG_STAGES)}, got {self.depth}"
            )
        if self.form not in ("imagenet", "cifar"):
            raise ValueError(f"VGGConfig: form must be 'imagenet' or 'cifar', got {self.form!r}")
        if self.pooling not in ("max", "avg"):
            raise ValueError(f"VGGConfig: pooling must be 'max' or 'avg', got {self.pooling!r}")
        if self.pools not in range(len(WIDTHS) + 1):
            raise ValueError(
                f"VGGConfig: pools must be from 0 to {len(WIDTHS)}, got {self.pools!r}"
            )
        if min(self.num_classes, self.in_channels) < 1:
            raise ValueError(
                "VGGConfig: num_classes and in_channels must be 1 or more, got "
                f"{self.num_classes} and {self.in_channels}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"VGGConfig: dropout must be in [0, 1), got {self.dropout}")

    def make_activation(self) -> nn.Module:
        """Return a new activation of the configured kind."""
        return make_activation(self.activation, self.levels)

    @property
    def name(self) -> str:
        """Name in the registry, such as ``vgg16_bn``."""
        return f"vgg{self.depth}" + ("_bn" if self.batch_norm else "")

    def __str__(self) -> str:
        form = "CIFAR" if self.form == "cifar" else "ImageNet"
        return (
            f"{self.name} ({form} head, {self.in_channels} input channels, "
            f"{self.num_classes} classes{describe(self.activation, self.levels)})"
        )


class VGG(nn.Module):
    """A VGG network, built from its configuration.

    Args:
        config: the shape.

    Source: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", 2014, table 1. The CIFAR form replaces its head by one linear layer.

    >>> VGG(VGGConfig(11, form="cifar", num_classes=10))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, config: VGGConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.Sequential(*_features(config))
        if config.form == "imagenet":
            self.avgpool = nn.AdaptiveAvgPool2d(7)
            self.classifier = nn.Sequential(
                nn.Linear(WIDTHS[-1] * 7 * 7, 4096),
                config.make_activation(),
                nn.Dropout(config.dropout),
                nn.Linear(4096, 4096),
                config.make_activation(),
                nn.Dropout(config.dropout),
                nn.Linear(4096, config.num_classes),
            )
        else:
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.classifier = nn.Sequential(nn.Linear(WIDTHS[-1], config.num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``[B, in_channels, H, W]``, H, W >= 2^pools, to logits ``[B, classes]``."""
        x = self.avgpool(self.features(x))
        logits: torch.Tensor = self.classifier(torch.flatten(x, 1))
        return logits


def _features(config: VGGConfig) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = config.in_channels
    pool = nn.MaxPool2d if config.pooling == "max" else nn.AvgPool2d
    for stage, convolutions in enumerate(VGG_STAGES[config.depth]):
        width = WIDTHS[stage]
        for _ in range(convolutions):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if config.batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(config.make_activation())
            channels = width
        layers.append(pool(2, 2) if stage < config.pools else nn.Identity())
    return layers
