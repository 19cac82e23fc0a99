"""Small runs, and a comparison of networks bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from spikeconv.data import ImageSet
from spikeconv.models import build_model
from spikeconv.train import Recipe, Trainer


def network(**options: Any) -> nn.Module:
    """A ResNet-8 of 4, 4 and 8 channels, the same each time."""
    torch.manual_seed(0)
    return build_model("resnet8", widths=(4, 4, 8), num_classes=3, **options)


def dropping() -> nn.Module:
    """A small network with dropout, the same each time."""
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)]
    return nn.Sequential(*layers)


def recipe(**options: Any) -> Recipe:
    """Three epochs of three steps."""
    return Recipe(**{"epochs": 3, "batch": 16, "holdout": 10, "lr": 0.05, **options})


def run(model: nn.Module, images: ImageSet, plan: Recipe, folder: Path | None) -> list[str]:
    """Train, and return the lines that were said."""
    lines: list[str] = []
    Trainer(model, images, plan, folder).run(progress=False, say=lines.append)
    return lines


def assert_same(a: nn.Module, b: nn.Module) -> None:
    """Equal names and bits."""
    left, right = a.state_dict(), b.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
