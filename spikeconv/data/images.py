"""Labelled images: read by index, normalised, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spikeconv.data.photos import Photos

_LARGE = 2**32


@dataclass(frozen=True)
class ImageSet:
    """Images and labels, normalised when they are read.

    Args:
        images: uint8 ``[N, C, H, W]`` in 0..255, or `Photos`, which are opened when they are read.
        labels: int64 ``[N]``.
        mean: subtracted per channel after the division by 255, or None.
        std: divided by per channel, or None.

    Example:
        >>> images = ImageSet(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8), torch.arange(3))
        >>> [(x.shape[0], x.max().item(), y.tolist()) for x, y in images.batches(2)]
        [(2, 1.0, [0, 1]), (1, 1.0, [2])]
    """

    images: Tensor | Photos
    labels: Tensor
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def near(self, device: torch.device) -> ImageSet:
        """Return the set with its labels on a device, and its images if they are below 4 GB.

        Larger ones and photos stay where they are; what is read of them is to be moved.
        """
        images = self.images
        if isinstance(images, Tensor) and images.nbytes < _LARGE:
            images = images.to(device)
        return replace(self, images=images, labels=self.labels.to(device))

    def raw(self, indices: Tensor) -> Tensor:
        """Return the images ``[n, C, H, W]``, uint8, at int64 indices ``[n]``."""
        images = self.images
        return images[indices] if isinstance(images, Tensor) else images.read(indices)

    def normalise(self, raw: Tensor) -> Tensor:
        """Return uint8 images ``[n, C, H, W]`` as float32, divided by 255 and normalised."""
        x = raw.float() / 255
        if self.mean is not None:
            x -= torch.tensor(self.mean, device=x.device)[:, None, None]
        if self.std is not None:
            x /= torch.tensor(self.std, device=x.device)[:, None, None]
        return x

    def read(self, indices: Tensor) -> Tensor:
        """Return the images ``[n, C, H, W]``, float32 and normalised, at int64 indices ``[n]``."""
        return self.normalise(self.raw(indices))

    def batches(self, size: int, limit: int | None = None) -> Batches:
        """Return all images, or ``limit`` evenly spaced ones, in order and ``size`` at a time."""
        return Batches(self, size, len(self) if limit is None else min(limit, len(self)))

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Return ``count`` different images ``[count, C, H, W]`` drawn by ``seed``.

        Raises:
            ValueError: ``count`` is not in 1..N.
        """
        if not 1 <= count <= len(self):
            raise ValueError(
                f"ImageSet.sample: count must be in 1..{len(self)} (the images there are), "
                f"got {count}"
            )
        generator = torch.Generator().manual_seed(seed)
        return self.read(torch.randperm(len(self), generator=generator)[:count])


@dataclass(frozen=True)
class Batches:
    """Evenly spaced images of a set as ``(x, labels)``, ``size`` at a time; re-iterable.

    Evenly spaced because a folder is ordered by class: its first images are all of one. Of all
    batches, those from the `first` on are given, every `stride`-th.
    """

    source: ImageSet
    size: int
    count: int
    first: int = 0
    stride: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.count < 1:
            raise ValueError(
                "Batches: size and the number of images must be 1 or more, "
                f"got size={self.size} and {self.count} images"
            )

    def __len__(self) -> int:
        batches = -(-self.count // self.size)
        return len(range(self.first, batches, self.stride))

    def share(self, rank: int, count: int) -> Batches:
        """The batches of one of `count` processes, as they are: dealt out like cards.

        Example:
            >>> images = ImageSet(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.arange(5))
            >>> [y.tolist() for _, y in images.batches(2).share(0, 2)]
            [[0, 1], [4]]
        """
        return replace(self, first=rank, stride=count)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        chosen = torch.arange(self.count) * len(self.source) // self.count
        for indices in chosen.split(self.size)[self.first :: self.stride]:
            yield self.source.read(indices), self.source.labels[indices]


@dataclass(frozen=True)
class Dataset:
    """A training and a test set.

    Args:
        name: as in `load_dataset`.
        classes: names of the classes, in the order of the labels.
        train: where calibration images come from.
        test: what accuracy is measured on.
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    test: ImageSet

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image as it is read."""
        return tuple(self.train.read(torch.tensor([0])).shape[1:])
