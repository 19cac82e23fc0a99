"""CIFAR's files, python version: pickles of pixels and labels, whole or any part of them."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_SHAPE = (3, 32, 32)

# All that a pickled array of bytes needs; anything else in a file could be a program.
_ALLOWED = {
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
}


@dataclass(frozen=True)
class CifarFiles:
    """What the files of one of the two datasets are called, and their entries.

    Args:
        folder: where they lie.
        train: training images, in their order.
        test: test images.
        meta: names of the classes.
        labels: entry with the labels of a file of images.
        names: entry with the names of the classes.
    """

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    names: str


CIFAR = {
    "cifar10": CifarFiles(
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        ("test_batch",),
        "batches.meta",
        "labels",
        "label_names",
    ),
    "cifar100": CifarFiles(
        "cifar-100-python", ("train",), ("test",), "meta", "fine_labels", "fine_label_names"
    ),
}


def read_classes(name: str, folder: Path) -> tuple[str, ...]:
    """The names of the classes, in the order of the labels.

    Args:
        name: a key of `CIFAR`.
        folder: where the files lie.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: it is not one of the dataset's.
    """
    files = CIFAR[name]
    (names,) = _entries(name, folder / files.meta, files.names)
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise _broken(name, folder / files.meta, f"{files.names!r} to be a list of names")
    return tuple(names)


def read_images(name: str, folder: Path, train: bool, classes: int) -> tuple[Tensor, Tensor]:
    """All images, uint8 ``[N, 3, 32, 32]``, and their labels, int64 ``[N]``; N may be any.

    Args:
        name: a key of `CIFAR`.
        folder: where the files lie.
        train: the training images, else the test images.
        classes: how many there are.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: it is not one of the dataset's; says what is wrong.
    """
    files = CIFAR[name]
    pixels, labels = [], []
    for part in files.train if train else files.test:
        data, given = _entries(name, folder / part, "data", files.labels)
        pixels.append(_checked_pixels(name, folder / part, data))
        labels.append(_checked_labels(name, folder / part, given, len(data), classes))
    return torch.cat(pixels).reshape(-1, *_SHAPE), torch.cat(labels)


def _checked_pixels(name: str, path: Path, data: object) -> Tensor:
    length = int(np.prod(_SHAPE))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (length,):
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data)
        raise _broken(name, path, f"'data' to be uint8 [N, {length}], found {found}")
    if not len(data):
        raise _broken(name, path, "at least one image")
    return torch.from_numpy(data.copy())


def _checked_labels(name: str, path: Path, given: object, images: int, classes: int) -> Tensor:
    try:
        labels = np.asarray(given)
    except ValueError as error:  # lists of several lengths
        raise _broken(name, path, f"a label for each of {images} images") from error
    if labels.dtype.kind not in "iu" or labels.shape != (images,):
        raise _broken(name, path, f"a label for each of {images} images")
    if labels.min() < 0 or labels.max() >= classes:
        wanted = f"labels in 0..{classes - 1}, found {labels.min()} to {labels.max()}"
        raise _broken(name, path, wanted)
    return torch.from_numpy(labels.astype(np.int64))


def _entries(name: str, path: Path, *keys: str) -> list[Any]:
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"load_dataset: {name}: {path.name} is missing in {path.parent}"
        ) from None
    except Exception as error:  # pickles fail in any way: bytes are a program
        raise _broken(name, path, f"a pickled dict; reading it failed: {error}") from error
    if not isinstance(content, dict) or not all(key in content for key in keys):
        raise _broken(name, path, f"a dict with {' and '.join(map(repr, keys))}")
    return [content[key] for key in keys]


def _broken(name: str, path: Path, wanted: str) -> ValueError:
    return ValueError(f"load_dataset: {name}: {path}: wanted {wanted}")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array needs")
        return super().find_class(module, name)
