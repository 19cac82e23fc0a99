"""A tiny network on scikit-learn's digits, to see that the accuracy table can be made at all."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from networks import fit
from spikeconv.data import load_dataset
from spikeconv.models import build_model

ARGUMENTS = (
    *("--dataset", "digits", "--T", "2", "8", "16", "--limit", "120"),
    *("--calibration-images", "64"),
    *("--methods", "opi", "best", "best-signed", "zero", "uniform", "bias", "srp", "cos", "delay"),
    *("max", "max/rts"),
)


class _Digits:
    """The training digits, drawn at random."""

    def __init__(self) -> None:
        self.images = load_dataset("digits").train

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Images ``[count, 1, 8, 8]`` and their classes."""
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(self.images), generator=generator)[:count]
        return self.images.read(chosen), self.images.labels[chosen]


def write_weights(path: Path) -> None:
    """Write the weights of a ResNet-8 of random features with a head that is fitted."""
    torch.manual_seed(0)
    ann = build_model("resnet8", widths=(8, 8, 16), num_classes=10, in_channels=1)
    torch.save(fit(ann, _Digits()).state_dict(), path)
