"""Residual networks in their two published forms, with torchvision's attribute names.

CIFAR form (He et al. 2015, section 4.2): a 3x3 stem, three stages of basic blocks with 16, 32 and
64 channels, depth 6n + 2. ImageNet form (section 4.1): a 7x7 stem with max pooling and four stages;
from depth 50 on, blocks are bottlenecks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from spikeconv.activation import make_activation

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
        stem: ``"cifar"`` (3x3, stride 1) or ``"imagenet"`` (7x7, stride 2, then max pooling).
        shortcut: what a block's shortcut does where the shape changes: ``"A"`` subsamples and pads
            with zero channels, ``"B"`` projects by a 1x1 convolution with batch norm.
        num_classes: width of the head.
        in_channels: channels of the images.
        activation: ``"relu"``, ``"clip"`` (a trained bound) or ``"qcfs"`` (a trained step).
        levels: of ``"qcfs"``, 1 or more.
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
            f"{self.num_classes} classes)"
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


def _conv(in_channels: int, out_channels: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False)


class PadShortcut(nn.Module):
    """Option-A shortcut: every ``stride``-th pixel, with zero channels on both sides."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``[B, C, H, W]`` to ``[B, C', ceil(H / stride), ceil(W / stride)]``."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        """Name the stride and the zero channels."""
        return f"stride={self.stride}, zero_channels=({self.before}, {self.after})"


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        downsample: nn.Module | None,
        activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = activation()
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample
        self.relu2 = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``[B, C, H, W]`` to ``[B, width, H / stride, W / stride]``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: torch.Tensor = self.relu2(y + shortcut)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution and a shortcut; the stride sits in the 3x3, as torchvision's."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        downsample: nn.Module | None,
        activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = activation()
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = activation()
        self.conv3 = _conv(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = downsample
        self.relu3 = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``[B, C, H, W]`` to ``[B, 4 * width, H / stride, W / stride]``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        out: torch.Tensor = self.relu3(y + shortcut)
        return out


class ResNet(nn.Module):
    """A residual network with ReLU and batch norm, built from its configuration.

    Args:
        config: the shape, from `cifar_resnet`, `imagenet_resnet` or by hand.

    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015.

    >>> ResNet(cifar_resnet(20))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        size, stride = (7, 2) if config.stem == "imagenet" else (3, 1)
        self.conv1 = _conv(config.in_channels, config.widths[0], size, stride)
        self.bn1 = nn.BatchNorm2d(config.widths[0])
        self.relu = config.make_activation()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if config.stem == "imagenet" else None
        channels = config.widths[0]
        for i, (blocks, width) in enumerate(zip(config.blocks, config.widths, strict=True)):
            stage, channels = _stage(config, channels, width, blocks, stride=1 if i == 0 else 2)
            self.add_module(f"layer{i + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, config.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``[B, in_channels, H, W]`` to logits ``[B, num_classes]``."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        for i in range(len(self.config.blocks)):
            x = self.get_submodule(f"layer{i + 1}")(x)
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


def _stage(
    config: ResNetConfig, in_channels: int, width: int, blocks: int, stride: int
) -> tuple[nn.Sequential, int]:
    """Build one stage; return it and the number of channels that leave it."""
    block = Bottleneck if config.bottleneck else BasicBlock
    out_channels = width * block.expansion
    downsample: nn.Module | None = None
    if stride != 1 or in_channels != out_channels:
        if config.shortcut == "A":
            downsample = PadShortcut(in_channels, out_channels, stride)
        else:
            downsample = nn.Sequential(
                _conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels)
            )
    layers: list[nn.Module] = [
        block(in_channels, width, stride, downsample, config.make_activation)
    ]
    layers += [
        block(out_channels, width, 1, None, config.make_activation) for _ in range(blocks - 1)
    ]
    return nn.Sequential(*layers), out_channels
