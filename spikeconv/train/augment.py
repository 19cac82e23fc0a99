"""Augmentation of image batches: a whole batch at once, drawn from one generator on the CPU.

Images stay on the device that they are on. What is drawn does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeconv.data import ImageSet, Photos
from spikeconv.train.autoaugment import autoaugment

_PAD = 4
_HOLE = 16
# Values of images that are augmented together: a few batches of small ones, since a call costs
# about as much as its work.
_TOGETHER = 2**24


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
    places = (place.to(images.device) for place in (image, channel, rows, columns))
    return padded[tuple(places)]


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror left and right, each image with probability 1/2. uint8 ``[B, C, H, W]``."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)


def cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    """Put 0, the mean, into a square of 16 x 16 pixels around a random centre, cut at the border.

    Of images below 32 pixels the square is half as high and wide as they are. Normalised images,
    float32 ``[B, C, H, W]``.

    Source: DeVries, Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout", 2017.
    """
    count, _, height, width = images.shape
    inside = []
    for size in (height, width):
        centre = torch.randint(size, (count, 1), generator=generator)
        offset = torch.arange(size) - centre
        half = min(_HOLE, size // 2) // 2
        inside.append((offset >= -half) & (offset < half))
    hole = inside[0].view(count, 1, height, 1) & inside[1].view(count, 1, 1, width)
    return images.masked_fill(hole.to(images.device), 0)


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation by up to 20 % and the hue by up to a tenth turn.

    Source: the ImageNet recipe of the QCFS authors (Bu et al., ICLR 2022).
    """
    from torchvision.transforms import ColorJitter

    change = ColorJitter(0.2, 0.2, 0.2, 0.1)
    with _torch_seeded_by(generator):
        return torch.stack([change(image) for image in images])


@contextmanager
def _torch_seeded_by(generator: torch.Generator) -> Iterator[None]:
    """Let torchvision, which draws from torch's own generator, draw what `generator` decides."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "crop": crop,
    "flip": flip,
    "autoaugment": autoaugment,
    "cutout": cutout,
    "jitter": jitter,
}


def default_names(dataset: str) -> tuple[str, ...]:
    """The augmentations that a dataset is trained with where none are asked for.

    Digits are no longer themselves when mirrored, and too small to be moved.
    """
    if dataset == "digits":
        return ()
    photos = dataset in ("imagenet", "folder")
    return ("crop", "flip", "jitter") if photos else ("crop", "flip")


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError for a name that is none of an augmentation's."""
    for name in names:
        if name not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise ValueError(f"augment: names must be among {known}, got {name!r}")


def augmented(
    images: ImageSet, indices: Tensor, names: Sequence[str], generator: torch.Generator
) -> Tensor:
    """Read training images and change them by augmentations, in the given order.

    ``"cutout"`` comes last wherever it stands, after the normalisation: its hole is the mean.
    Of photos, ``"crop"`` is the window that they are cut to when they are opened, drawn anew (see
    `spikeconv.data.photos.random_window`), and comes first.

    Args:
        images: the training set.
        indices: which, int64 ``[n]``.
        names: keys of `AUGMENTATIONS`.
        generator: draws everything; on the CPU.

    Returns:
        float32 ``[n, C, H, W]``, normalised, where the images are.

    Raises:
        ValueError: an unknown name.
    """
    check_names(names)
    if isinstance(images.images, Photos):
        seeds = torch.randint(2**62, (len(indices),), generator=generator)
        raw = images.images.read(indices, seeds if "crop" in names else None)
        names = [name for name in names if name != "crop"]
    else:
        raw = images.raw(indices)
    for name in names:
        if name != "cutout":
            raw = AUGMENTATIONS[name](raw, generator)
    x = images.normalise(raw)
    return cutout(x, generator) if "cutout" in names else x


def augmented_batches(
    images: ImageSet, batches: Sequence[Tensor], names: Sequence[str], generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read batches as `augmented` does, several of them together where images are small.

    Args:
        images: the training set.
        batches: indices of each, int64 ``[n]``; all but the last of the same length.
        names, generator: as `augmented` takes them.

    Yields:
        Images and labels of each batch, where the set is.
    """
    if not batches:
        return
    ahead = 1
    if isinstance(images.images, Tensor):
        ahead = max(1, _TOGETHER // (images.images[0].numel() * len(batches[0])))
    for first in range(0, len(batches), ahead):
        part = batches[first : first + ahead]
        indices = torch.cat(tuple(part))
        sizes = [len(batch) for batch in part]
        x, labels = augmented(images, indices, names, generator), images.labels[indices]
        yield from zip(x.split(sizes), labels.split(sizes), strict=True)
