"""Datasets by name: CIFAR-10, CIFAR-100, ImageNet or another folder of photos, digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from spikeconv.data.cifar import CIFAR, read_classes, read_images
from spikeconv.data.images import Dataset, ImageSet
from spikeconv.data.photos import Photos

DATASETS = ("cifar10", "cifar100", "imagenet", "folder", "digits")
CHANNELS = {name: 1 if name == "digits" else 3 for name in DATASETS}
"""Of the images of each."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def load_dataset(
    name: str,
    data_dir: str | Path | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> Dataset:
    """Open a dataset that is already on this machine; nothing is downloaded.

    Args:
        name: ``"cifar10"``, ``"cifar100"`` (the folders ``cifar-10-batches-py`` and
            ``cifar-100-python`` of the python version; any number of images), ``"imagenet"`` or
            ``"folder"`` (``train/<class>/*`` and ``val/<class>/*``; the shorter side to 256 pixels,
            the central 224 x 224), or ``"digits"`` (scikit-learn's 8 x 8 images, 1437 to train and
            360 to test).
        data_dir: folder that holds the dataset; not used by ``"digits"``.
        mean: per channel, in units of x / 255; default ImageNet's, for digits that of the
            training images.
        std: likewise, above 0.
        seed: draws the split of ``"digits"``.

    Returns:
        The dataset; images are float32 ``[C, H, W]`` and normalised.

    Raises:
        ValueError: unknown name, mean or std of another length than there are channels, or a file
            that is none of the dataset's.
        FileNotFoundError: the dataset is not in ``data_dir``; says where it was looked for.
        ImportError: torchvision or scikit-learn is not installed.
    """
    if name not in DATASETS:
        raise ValueError(f"load_dataset: name must be one of {', '.join(DATASETS)}, got {name!r}")
    if name == "digits":
        return _digits(mean, std, seed)
    if data_dir is None:
        raise ValueError(f"load_dataset: {name} needs data_dir, the folder that holds it; got None")
    root = Path(data_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"load_dataset: {name}: looked in {root}, which is no folder")
    normalise = _statistics(name, mean, std, (IMAGENET_MEAN, IMAGENET_STD))
    load = _cifar if name in CIFAR else _folder
    return load(name, root, *normalise)


def _statistics(
    name: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    usual: tuple[tuple[float, ...], tuple[float, ...]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    channels = CHANNELS[name]
    # Arrays and tensors, too: their numbers become Python's.
    mean = tuple(map(float, usual[0] if mean is None else mean))
    std = tuple(map(float, usual[1] if std is None else std))
    finite = all(map(math.isfinite, (*mean, *std)))
    positive = all(value > 0 for value in std)
    if len(mean) != channels or len(std) != channels or not finite or not positive:
        raise ValueError(
            f"load_dataset: {name} needs {channels} finite numbers as mean and {channels} above 0 "
            f"as std, got {mean} and {std}"
        )
    return mean, std


def _torchvision(name: str) -> Any:
    try:
        import torchvision
    except ModuleNotFoundError as error:
        raise ImportError(
            f"load_dataset: {name} needs torchvision: pip install torchvision"
        ) from error
    return torchvision


def _cifar(name: str, root: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> Dataset:
    folder = CIFAR[name].folder
    if root.name == folder:
        root = root.parent
    if not (root / folder).is_dir():
        raise FileNotFoundError(
            f"load_dataset: {name}: looked in {root}, wanted the folder {folder} there "
            "(the python version of the dataset, unpacked)"
        )
    classes = read_classes(name, root / folder)
    train, test = (
        ImageSet(*read_images(name, root / folder, train, len(classes)), mean, std)
        for train in (True, False)
    )
    return Dataset(name, classes, train, test)


def _folder(name: str, root: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> Dataset:
    torchvision = _torchvision(name)
    sets, classes = [], []
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise FileNotFoundError(
                f"load_dataset: {name}: looked in {root}, wanted the folder {part} there with one "
                "folder of images for each class"
            )
        try:
            files = torchvision.datasets.ImageFolder(str(root / part))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"load_dataset: {name}: {root / part}: wanted a folder for each class with images "
                f"in it; torchvision says: {error}"
            ) from error
        paths = [path for path, _ in files.samples]
        labels = torch.tensor([label for _, label in files.samples])
        sets.append(ImageSet(Photos(paths, name), labels, mean, std))
        classes.append(tuple(files.classes))
    if classes[0] != classes[1]:
        odd = sorted(set(classes[0]) ^ set(classes[1]))
        raise ValueError(
            f"load_dataset: {name}: {root / 'train'} and {root / 'val'} must hold the same "
            f"classes, but only one of them has {', '.join(odd[:5])}"
        )
    return Dataset(name, classes[0], *sets)


def _digits(mean: Sequence[float] | None, std: Sequence[float] | None, seed: int) -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ImportError(
            "load_dataset: digits needs scikit-learn: pip install scikit-learn"
        ) from error
    digits = load_digits()
    # 0..16 to 0..255, so that digits are read like every other set.
    grey = torch.from_numpy(digits.images)[:, None] * (255 / 16)
    images, labels = grey.round().to(torch.uint8), torch.from_numpy(digits.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    train, test = order[360:], order[:360]
    # In integers, which any number of threads adds up to the same.
    pixels = images[train].long()
    count, total, squares = pixels.numel(), int(pixels.sum()), int(pixels.square().sum())
    deviation = math.sqrt((squares - total**2 / count) / (count - 1)) / 255
    normalise = _statistics("digits", mean, std, ((total / count / 255,), (deviation,)))
    return Dataset(
        "digits",
        tuple(str(name) for name in digits.target_names),
        ImageSet(images[train], labels[train], *normalise),
        ImageSet(images[test], labels[test], *normalise),
    )
