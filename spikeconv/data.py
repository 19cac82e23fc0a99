"""Labelled images: CIFAR-10, CIFAR-100, a folder with ImageNet's transforms, handwritten digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DATASETS = ("cifar10", "cifar100", "imagenet", "folder", "digits")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_CIFAR_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}


@dataclass(frozen=True)
class ImageSet:
    """Images and labels, normalised when they are read.

    Args:
        images: uint8 ``[N, C, H, W]`` in 0..255, or a sequence of float tensors ``[C, H, W]`` that
            are normalised already and read one by one.
        labels: int64 ``[N]``.
        mean: subtracted per channel after the division by 255, or None.
        std: divided by per channel, or None.

    Example:
        >>> images = ImageSet(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8), torch.arange(3))
        >>> [(x.shape[0], x.max().item(), y.tolist()) for x, y in images.batches(2)]
        [(2, 1.0, [0, 1]), (1, 1.0, [2])]
    """

    images: Tensor | Sequence[Tensor]
    labels: Tensor
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Tensor, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the images ``[n, C, H, W]``, float32 and normalised, at int64 indices ``[n]``.

        Images held as uint8 are passed through `change`, such as an augmentation, before they are
        normalised.
        """
        if not isinstance(self.images, Tensor):
            # Threads are enough: decoding and resizing run outside the interpreter's lock.
            with ThreadPoolExecutor() as pool:
                return torch.stack(list(pool.map(self.images.__getitem__, indices.tolist())))
        raw = self.images[indices]
        x = (raw if change is None else change(raw)).float() / 255
        if self.mean is not None:
            x -= torch.tensor(self.mean)[:, None, None]
        if self.std is not None:
            x /= torch.tensor(self.std)[:, None, None]
        return x

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

    Evenly spaced because a folder is ordered by class: its first images are all of one.
    """

    source: ImageSet
    size: int
    count: int

    def __post_init__(self) -> None:
        if self.size < 1 or self.count < 1:
            raise ValueError(
                "Batches: size and the number of images must be 1 or more, "
                f"got size={self.size} and {self.count} images"
            )

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        chosen = torch.arange(self.count) * len(self.source) // self.count
        for indices in chosen.split(self.size):
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
        name: ``"cifar10"``, ``"cifar100"`` (torchvision's folders ``cifar-10-batches-py`` and
            ``cifar-100-python``), ``"imagenet"`` or ``"folder"`` (``train/<class>/*`` and
            ``val/<class>/*``; the shorter side to 256 pixels, the central 224 x 224), or
            ``"digits"`` (scikit-learn's 8 x 8 images, 1437 to train and 360 to test).
        data_dir: folder that holds the dataset; not used by ``"digits"``.
        mean: per channel, in units of x / 255; default ImageNet's, for digits that of the
            training images.
        std: likewise, above 0.
        seed: draws the split of ``"digits"``.

    Returns:
        The dataset; images are float32 ``[C, H, W]`` and normalised.

    Raises:
        ValueError: unknown name, or mean or std of another length than there are channels.
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
    normalise = _statistics(name, mean or IMAGENET_MEAN, std or IMAGENET_STD, channels=3)
    load = _cifar if name in _CIFAR_FOLDERS else _folder
    return load(name, root, *normalise)


def _statistics(
    name: str, mean: Sequence[float], std: Sequence[float], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if len(mean) != channels or len(std) != channels or not all(value > 0 for value in std):
        raise ValueError(
            f"load_dataset: {name} needs {channels} numbers as mean and {channels} above 0 as std, "
            f"got {tuple(mean)} and {tuple(std)}"
        )
    return tuple(mean), tuple(std)


def _torchvision(name: str) -> Any:
    try:
        import torchvision
    except ModuleNotFoundError as error:
        raise ImportError(
            f"load_dataset: {name} needs torchvision: pip install torchvision"
        ) from error
    return torchvision


def _cifar(name: str, root: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> Dataset:
    datasets = _torchvision(name).datasets
    make = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    folder = _CIFAR_FOLDERS[name]
    if root.name == folder:
        root = root.parent
    if not (root / folder).is_dir():
        raise FileNotFoundError(
            f"load_dataset: {name}: looked in {root}, wanted the folder {folder} there "
            "(the python version of the dataset, unpacked)"
        )
    try:
        parts = [make(str(root), train=train, download=False) for train in (True, False)]
    except RuntimeError as error:
        raise FileNotFoundError(
            f"load_dataset: {name}: files in {root / folder} are missing or differ from the "
            "published ones (torchvision compares their md5)"
        ) from error
    train, test = (
        ImageSet(
            torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(),
            torch.tensor(part.targets),
            mean,
            std,
        )
        for part in parts
    )
    return Dataset(name, tuple(parts[0].classes), train, test)


@dataclass(frozen=True)
class _Files(Sequence[Tensor]):
    """Image files, opened when they are asked for."""

    paths: list[str]
    load: Callable[[str], Any]
    transform: Callable[[Any], Tensor]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        return self.transform(self.load(self.paths[index]))


def _folder(name: str, root: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> Dataset:
    torchvision = _torchvision(name)
    transforms = torchvision.transforms
    transform = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    sets, classes = [], []
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise FileNotFoundError(
                f"load_dataset: {name}: looked in {root}, wanted the folder {part} there with one "
                "folder of images for each class"
            )
        files = torchvision.datasets.ImageFolder(str(root / part))
        paths = [path for path, _ in files.samples]
        labels = torch.tensor([label for _, label in files.samples])
        sets.append(ImageSet(_Files(paths, files.loader, transform), labels))
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
    pixels = images[train].double() / 255
    normalise = _statistics(
        "digits", mean or (pixels.mean().item(),), std or (pixels.std().item(),), channels=1
    )
    return Dataset(
        "digits",
        tuple(str(name) for name in digits.target_names),
        ImageSet(images[train], labels[train], *normalise),
        ImageSet(images[test], labels[test], *normalise),
    )
