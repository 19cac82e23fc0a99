"""The networks of the accuracy table: where their weights are, and how to get those missing."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

import spikeconv
from spikeconv.activation import QCFS, Clip
from spikeconv.data import Dataset, load_dataset
from spikeconv.models import load_model
from spikeconv.models.checkpoint import open_weights

HERE = Path(__file__).resolve().parent
_SHIPPED = Path(spikeconv.__file__).resolve().parent / "weights"
_TRAIN = "spikeconv train --dataset cifar10 --data ../shared/data"
_TEST_IMAGES = {"cifar10": 10_000, "cifar100": 10_000, "imagenet": 50_000, "digits": 360}


@dataclass(frozen=True)
class Network:
    """A trained network.

    Args:
        name: as ``--networks`` takes it.
        dataset: what it was trained on.
        path: its weights, which may be missing; relative to the folder of the data.
        label: what a reader is told.
        family: key of its published rivals in `published.PUBLISHED`.
        train: commands that make the weights.
        cost: time of an image and step, in units of ResNet-20's.
        trained: the threshold that it was trained with, for tables made without its weights.
        calibration: training images that it is calibrated on, where ``--calibration-images`` does
            not say how many.
        mean, std: of the channels; None for what the weights say, else the dataset's default.
        pooling: ``"max"`` or ``"avg"``, where the weights do not say; None for the model's default.
    """

    name: str
    dataset: str
    path: Path
    label: str
    family: str = ""
    train: str = ""
    cost: float = 1.0
    trained: str | None = None
    calibration: int = 512
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    pooling: str | None = None

    def file(self, data: Path) -> Path:
        """Its weights, with the data in that folder."""
        return self.path if self.path.is_absolute() else data / self.path

    def missing(self, data: Path) -> str | None:
        """Why it cannot be measured, or None."""
        if self.file(data).is_file():
            return None
        how = f"; `{self.train}` makes them" if self.train else ""
        return f"weights not there: {_short(self.file(data))}{how}"


@dataclass(frozen=True)
class Loaded:
    """A network in memory, with its data.

    Args:
        ann: in eval mode.
        weights: the first half of the file's SHA-256.
        trained: the threshold it was trained with, ``"tcl"`` or ``"qcfs"``, or None.
        data: normalised as the network or its weights say.
        given: what else numbers depend on, of a network that is no part of the table.
    """

    ann: nn.Module
    weights: str
    trained: str | None
    data: Dataset
    given: dict[str, Any]


_RELU = (
    f"{_TRAIN} --model resnet20 --epochs 30 --schedule onecycle --bf16 off --compile "
    "--out runs/relu"
)
_QCFS = (
    f"{_RELU}; {_TRAIN} --model resnet20 --activation qcfs --levels 4 "
    "--init runs/relu/best.safetensors --epochs 150 --holdout 1000 --compile --out runs/qcfs"
)


_VGG16 = (
    f"{_TRAIN} --model vgg16 --activation clip --augment crop,flip,autoaugment,cutout "
    "--holdout 1000 --batch 512 --optimizer muon --compile"
)
_VGG16_CLIP = (
    f"{_VGG16} --epochs 40 --schedule onecycle --muon-lr 0.06 --out runs/vgg16-first; "
    f"{_VGG16} --init runs/vgg16-first/best.safetensors --epochs 35 --lr 0.05 --muon-lr 0.04 "
    "--out runs/vgg16; spikeconv compact runs/vgg16/best.safetensors "
    "--out bench/weights/vgg16-cifar10-clip.safetensors"
)

NETWORKS: tuple[Network, ...] = (
    Network(
        "resnet20-shared",
        "cifar10",
        Path("weights/resnet20-12fca82f.th"),
        "ResNet-20 as others trained it, ReLU; training-free",
        "resnet20",
    ),
    Network(
        "resnet20-cifar10-qcfs",
        "cifar10",
        _SHIPPED / "resnet20-cifar10-qcfs.safetensors",
        "own ResNet-20 (16/32/64 wide), trained step of 4 levels",
        "resnet20",
        _QCFS,
        trained="qcfs",
        calibration=1024,
    ),
    Network(
        "resnet20-cifar10",
        "cifar10",
        _SHIPPED / "resnet20-cifar10.safetensors",
        "own ResNet-20 (16/32/64 wide), ReLU",
        "resnet20",
        _RELU,
    ),
    Network(
        "vgg16-cifar10-clip",
        "cifar10",
        HERE / "weights" / "vgg16-cifar10-clip.safetensors",
        "own VGG-16, trained clip bound",
        "vgg16",
        _VGG16_CLIP,
        7.5,
        "tcl",
    ),
)


def own_network(
    text: str,
    dataset: str,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    pooling: str | None = None,
) -> Network:
    """A user's network, from NAME=FILE.

    Raises:
        ValueError: it is not spelled so, the name is taken, or there is no such file.
    """
    name, equals, file = text.partition("=")
    if not (equals and file) or not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError(
            f"--weights: wanted NAME=FILE, NAME of letters, digits and -, got {text!r}"
        )
    if name in {network.name for network in NETWORKS}:
        raise ValueError(f"--weights: {name} is a network of the table; take another name")
    path = Path(file).resolve()
    if not path.is_file():
        raise ValueError(f"--weights: {file}: there is no such file")
    label = f"your own, {path.name}"
    return Network(name, dataset, path, label, mean=mean, std=std, pooling=pooling)


def load(network: Network, data: Path) -> Loaded:
    """The network and its data.

    Args:
        network: not `Network.missing`.
        data: folder of the dataset.

    Raises:
        ValueError: weights and data do not go together.
        FileNotFoundError: the data are not there.
    """
    path = network.file(data)
    about = open_weights(path).about
    options: dict[str, Any] = {} if network.pooling is None else {"pooling": network.pooling}
    ann = load_model(path, **options)
    said = about if about.get("dataset") == network.dataset else {}
    mean, std = network.mean or said.get("mean"), network.std or said.get("std")
    found = _data(network.dataset, data, mean and tuple(mean), std and tuple(std))
    fits = (len(found.classes), found.image_shape[0])
    if (ann.config.num_classes, ann.config.in_channels) != fits:
        raise ValueError(
            f"{path}: wanted a network for {network.dataset} ({fits[0]} classes, {fits[1]} input "
            f"channels), found {ann.config}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    given = {
        "data": str(data.resolve()),
        "mean": found.test.mean,
        "std": found.test.std,
        "pooling": network.pooling,
    }
    return Loaded(ann, digest, trained_threshold(ann), found, {} if network in NETWORKS else given)


def size_of_test_set(dataset: str, data: Path) -> int:
    """Images of a dataset's test set: those in that folder, else as published; 0: nobody knows."""
    try:
        return len(_data(dataset, data, None, None).test)
    except FileNotFoundError:
        return _TEST_IMAGES.get(dataset, 0)


@lru_cache(maxsize=4)
def _data(
    name: str,
    folder: Path,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
) -> Dataset:
    """A dataset, kept in memory once for all networks that are trained on it."""
    return load_dataset(name, folder, mean=mean, std=std)


def trained_threshold(ann: nn.Module) -> str | None:
    """The threshold method that reads the bounds a network was trained with; None without."""
    kinds: list[Any] = [type(m) for m in ann.modules() if isinstance(m, nn.ReLU | Clip)]
    if not kinds or not all(issubclass(kind, Clip) for kind in kinds):
        return None
    return "qcfs" if all(issubclass(kind, QCFS) for kind in kinds) else "tcl"


def _short(path: Path) -> str:
    root = HERE.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
