"""Weights by ``spikeconv train``: those that are shipped with the package, and a user's own."""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor

from spikeconv.models.checkpoint import load_model, open_weights
from spikeconv.models.resnet import ResNet
from spikeconv.models.vgg import VGG
from spikeconv.models.weights import Weights

FOLDER = Path(__file__).resolve().parents[1] / "weights"
PRETRAINED: dict[str, str] = {
    "resnet20-cifar10": "ResNet-20 with ReLU, CIFAR-10",
    "resnet20-cifar10-qcfs": "ResNet-20 with a trained step of 4 levels, CIFAR-10",
}
"""Name -> what it is; the file is ``weights/<name>.safetensors``."""


def pretrained_path(name: str | Path) -> Path:
    """Return the file of shipped weights, or the path that is given in place of a name.

    Raises:
        ValueError: no such name; lists those there are.
        FileNotFoundError: this installation lacks the file.
    """
    if isinstance(name, Path) or str(name).lower().endswith(".safetensors"):
        return Path(name)
    if name not in PRETRAINED:
        known = ", ".join(f"{key!r} ({what})" for key, what in PRETRAINED.items())
        raise ValueError(
            f"pretrained: name must be one of {known}, or the path of a .safetensors file, got "
            f"{name!r}"
        )
    path = FOLDER / f"{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"pretrained: {path} is missing in this installation of spikeconv")
    return path


def load_pretrained(name: str | Path) -> ResNet | VGG:
    """Build a network with shipped weights.

    Args:
        name: ``"resnet20-cifar10"`` or ``"resnet20-cifar10-qcfs"``; or the path of a file that
            ``spikeconv train`` wrote, which ends in ``.safetensors``.

    Returns:
        The ANN in eval mode, on the CPU, in float32. It takes images divided by 255 and normalised
        as `pretrained_about` says.

    Raises:
        ValueError: no such name; lists those there are. As `load_model` of a path.
        FileNotFoundError: this installation lacks the file, or there is none.
        ImportError: safetensors is not installed.
    """
    return load_model(pretrained_path(name))


def pretrained_about(name: str | Path) -> dict[str, object]:
    """Return what shipped weights say about themselves: ``mean``, ``std``, ``recipe``, ...

    Raises:
        ValueError, FileNotFoundError, ImportError: as `load_pretrained`.
    """
    return open_weights(pretrained_path(name)).about


def thresholds_for(weights: Weights, T: int) -> dict[str, Tensor]:
    """Thresholds for T time-steps, between those in a file of weights.

    They are a smooth function of the logarithm of T, so between two stored T they are on the line
    over log T; beyond the last, its own.

    Args:
        weights: with thresholds, or trained bounds and none.
        T: 1 or more.

    Returns:
        Path of an activation -> float32 ``[channels]``.

    Example:
        >>> import torch
        >>> two = Weights({}, {"thresholds_T": [1, 4]}, {"relu": torch.tensor([[1.0], [3.0]])})
        >>> [thresholds_for(two, T)["relu"].item() for T in (1, 2, 4, 100)]
        [1.0, 2.0, 3.0, 3.0]
    """
    steps: list[int] = weights.about.get("thresholds_T", [])
    if not steps:
        return {}
    above = next((i for i, stored in enumerate(steps) if stored >= T), len(steps) - 1)
    below = max(0, above - 1)
    part = 1.0
    if steps[below] < T < steps[above]:
        part = math.log(T / steps[below]) / math.log(steps[above] / steps[below])
    return {
        path: theta[below].lerp(theta[above], part) for path, theta in weights.thresholds.items()
    }
