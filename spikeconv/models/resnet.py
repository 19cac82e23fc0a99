"""Residual networks in their two published forms, with torchvision's attribute names.

CIFAR form (He et al. 2015, section 4.2): a 3x3 stem, three stages of basic blocks with 16, 32 and
64 channels, depth 6n + 2. ImageNet form (section 4.1): a 7x7 stem with max pooling and four stages;
from depth 50 on, blocks are bottlenecks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from spikeconv.models.resnet_config import ResNetConfig


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
    """A residual network with batch norm, built from its configuration.

    Args:
        config: the shape, from `cifar_resnet`, `imagenet_resnet` or by hand.

    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015.

    >>> from spikeconv.models import cifar_resnet
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
        self.pool = _stem_pool(config)
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
        if self.pool is not None:
            x = self.pool(x)
        for i in range(len(self.config.blocks)):
            x = self.get_submodule(f"layer{i + 1}")(x)
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


def _stem_pool(config: ResNetConfig) -> nn.Module | None:
    if config.stem == "cifar":
        return None
    pool = nn.MaxPool2d if config.pooling == "max" else nn.AvgPool2d
    return pool(3, 2, padding=1)


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
