"""Augmentation of image batches: a whole batch at once, drawn from one generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_PAD = 4
_HOLE = 16


def crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by 4 zero pixels and cut out a window of the old size, for each image another one.

    Args:
        images: uint8 ``[B, C, H, W]``.
        generator: draws the windows.
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, (_PAD,) * 4)
    top, left = (torch.randint(2 * _PAD + 1, (count, 1), generator=generator) for _ in range(2))
    rows = (top + torch.arange(height)).view(count, 1, height, 1)
    columns = (left + torch.arange(width)).view(count, 1, 1, width)
    image = torch.arange(count).view(count, 1, 1, 1)
    channel = torch.arange(channels).view(1, channels, 1, 1)
    return padded[image, channel, rows, columns]


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror left and right, each image with probability 1/2. uint8 ``[B, C, H, W]``."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


def cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blacken a square of 16 x 16 pixels around a random centre, cut at the border.

    Source: DeVries, Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout", 2017.
    """
    count, _, height, width = images.shape
    inside = []
    for size in (height, width):
        centre = torch.randint(size, (count, 1), generator=generator)
        offset = torch.arange(size) - centre
        inside.append((offset >= -_HOLE // 2) & (offset < _HOLE // 2))
    hole = inside[0].view(count, 1, height, 1) & inside[1].view(count, 1, 1, width)
    return images.masked_fill(hole, 0)


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "crop": crop,
    "flip": flip,
    "cutout": cutout,
}


def default_names(dataset: str) -> tuple[str, ...]:
    """The augmentations that a dataset is trained with where none are asked for.

    Digits are no longer themselves when mirrored, and too small to be moved.
    """
    return () if dataset == "digits" else ("crop", "flip")


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError for a name that is none of an augmentation's."""
    for name in names:
        if name not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise ValueError(f"augment: names must be among {known}, got {name!r}")


def augment(images: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
    """Apply augmentations by name, in the given order.

    Args:
        images: uint8 ``[B, C, H, W]``.
        names: keys of `AUGMENTATIONS`.
        generator: draws everything; on the CPU.

    Returns:
        uint8 ``[B, C, H, W]``.

    Raises:
        ValueError: an unknown name.
    """
    check_names(names)
    for name in names:
        images = AUGMENTATIONS[name](images, generator)
    return images
