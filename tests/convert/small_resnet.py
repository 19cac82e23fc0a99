"""The network on which the table of other converters' failures was made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.convert.nets import images


class Block(nn.Module):
    def __init__(self, width: int, act: Any) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.n1 = nn.BatchNorm2d(width)
        self.c2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.n2 = nn.BatchNorm2d(width)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        y = self.n2(self.c2(self.act(self.n1(self.c1(x)))))
        y += x
        return self.act(y)


def small_resnet(act: Any = None, pool: nn.Module | None = None) -> nn.Module:
    """A stem and two residual blocks with batch norm, five ReLUs, for images of 16 pixels."""
    act = nn.ReLU(inplace=True) if act is None else act
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        Block(8, act),
        nn.Identity() if pool is None else pool,
        Block(8, act),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    with torch.no_grad():
        for _ in range(20):
            net(images(32, 3, 16, 16))
    return net.eval()
