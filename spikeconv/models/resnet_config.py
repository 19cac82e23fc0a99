"""What determines a residual network: its two published forms, and the fields that vary them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from spikeconv.activation import describe, make_activation

IMAGENET_STAGES: dict[int, tuple[tuple[int, ...], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
"""Depth -> (blocks in each stage, whether blocks are bottlenecks)."""


@dataclass(frozen=True)
class ResNetConfig:
    """Everything that determines the shape of a `ResNet`.

    Args:
        blocks: number of blocks in each stage.
        widths: channels of each stage; a bottleneck's output has four times as many.
        bottleneck: 1x1, 3x3, 1x1 blocks instead of two 3x3 convolutions.
        stem: ``"cifar"`` (3x3, stride 1) or ``"imagenet"`` (7x7, stride 2, then pooling).
        shortcut: what a block's shortcut does where the shape changes: ``"A"`` subsamples and pads
            with zero channels, ``"B"`` projects by a 1x1 convolution with batch norm.
        num_classes: width of the head.
        in_channels: channels of the images.
        activation: ``"relu"``, ``"clip"`` (a trained bound) or ``"qcfs"`` (a trained step).
        levels: of ``"qcfs"``, 1 or more.
        pooling: of the ImageNet stem, ``"max"`` as published or ``"avg"``.
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    bottleneck: bool = False
    stem: str = "cifar"
    shortcut: str = "A"
    num_classes: int = 10
    in_channels: int = 3
    activation: str = "relu"
    levels: int = 4
    pooling: str = "max"

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.widths) or not self.blocks:
            raise ValueError(
                "ResNetConfig: blocks and widths must have one entry for each stage, "
                f"got blocks={self.blocks} and widths={self.widths}"
            )
        if min(*self.blocks, *self.widths, self.num_classes, self.in_channels) < 1:
            raise ValueError(
                "ResNetConfig: blocks, widths, num_classes and in_channels must be 1 or more, got "
                f"{self.blocks}, {self.widths}, {self.num_classes}, {self.in_channels}"
            )
        if self.stem not in ("cifar", "imagenet"):
            raise ValueError(f"ResNetConfig: stem must be 'cifar' or 'imagenet', got {self.stem!r}")
        if self.shortcut not in ("A", "B"):
            raise ValueError(f"ResNetConfig: shortcut must be 'A' or 'B', got {self.shortcut!r}")
        if self.pooling not in ("max", "avg"):
            raise ValueError(f"ResNetConfig: pooling must be 'max' or 'avg', got {self.pooling!r}")
        if self.stem == "cifar" and self.pooling != "max":
            raise ValueError(
                "ResNetConfig: the CIFAR stem has no pooling, so leave pooling out, "
                f"got {self.pooling!r}"
            )
        if self.bottleneck and self.shortcut == "A":
            raise ValueError(
                "ResNetConfig: bottlenecks need shortcut 'B', got 'A': their first block "
                "widens the channels without a stride"
            )

    def make_activation(self) -> nn.Module:
        """Return a new activation of the configured kind."""
        return make_activation(self.activation, self.levels)

    @property
    def depth(self) -> int:
        """Number of layers with weights, counted as the paper does (projections excluded)."""
        return 2 + sum(self.blocks) * (3 if self.bottleneck else 2)

    @property
    def name(self) -> str:
        """Name in the registry, such as ``resnet20``."""
        return f"resnet{self.depth}"

    def __str__(self) -> str:
        form = "CIFAR" if self.stem == "cifar" else "ImageNet"
        return (
            f"{self.name} ({form} stem, blocks {self.blocks}, widths {self.widths}, "
            f"shortcut {self.shortcut}, {self.in_channels} input channels, "
            f"{self.num_classes} classes{describe(self.activation, self.levels)})"
        )


def cifar_resnet(
    depth: int,
    num_classes: int = 10,
    in_channels: int = 3,
    widths: tuple[int, ...] = (16, 32, 64),
    shortcut: str = "A",
) -> ResNetConfig:
    """Return the configuration of the CIFAR form of a given depth.

    Args:
        depth: 6n + 2, such as 8, 20, 32, 44, 56 or 110.
        num_classes: width of the head.
        in_channels: channels of the images.
        widths: channels of the three stages.
        shortcut: ``"A"`` (no parameters, as published) or ``"B"`` (projection).

    Raises:
        ValueError: ``depth`` is not 6n + 2 or ``widths`` does not name three stages.

    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, section 4.2.

    >>> cifar_resnet(20).blocks
    (3, 3, 3)
    """
    if depth < 8 or (depth - 2) % 6 != 0:
        raise ValueError(f"cifar_resnet: depth must be 6n + 2 (8, 14, 20, ...), got {depth}")
    if len(widths) != 3:
        raise ValueError(f"cifar_resnet: widths must name three stages, got {widths}")
    blocks = ((depth - 2) // 6,) * 3
    return ResNetConfig(
        blocks, widths, shortcut=shortcut, num_classes=num_classes, in_channels=in_channels
    )


def imagenet_resnet(
    depth: int, num_classes: int = 1000, in_channels: int = 3, stem: str = "imagenet"
) -> ResNetConfig:
    """Return the configuration of the four-stage form of a given depth.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: width of the head.
        in_channels: channels of the images.
        stem: ``"imagenet"``, or ``"cifar"`` for the same stages on 32x32 images.

    Raises:
        ValueError: ``depth`` is none of those.

    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, table 1.

    >>> imagenet_resnet(50).bottleneck
    True
    """
    if depth not in IMAGENET_STAGES:
        raise ValueError(
            f"imagenet_resnet: depth must be one of {sorted(IMAGENET_STAGES)}, got {depth}"
        )
    blocks, bottleneck = IMAGENET_STAGES[depth]
    return ResNetConfig(
        blocks,
        (64, 128, 256, 512),
        bottleneck,
        stem=stem,
        shortcut="B",
        num_classes=num_classes,
        in_channels=in_channels,
    )
