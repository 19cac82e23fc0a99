"""Opening files of weights: safely, and with one clear error where the file is the wrong one."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from spikeconv.models.infer import canonical_names, infer_config
from spikeconv.models.registry import build, model_config, with_options
from spikeconv.models.resnet import ResNet
from spikeconv.models.resnet_config import ResNetConfig
from spikeconv.models.vgg import VGG
from spikeconv.models.weights import Weights, read_weights

# What torch.load raises on bytes that are no checkpoint: its unpickler runs on whatever it gets.
_NOT_A_CHECKPOINT = (
    pickle.UnpicklingError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
# Fields of a configuration that no weight shows; this package's own files say them.
_UNSEEN = ("pooling", "pools", "dropout")
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a file without running code that the file may hold.

    Args:
        path: a ``.safetensors`` file, or one written by `torch.save`: a state dict, or a dict that
            holds one under ``state_dict``, ``model_state_dict``, ``model`` or ``net``.

    Returns:
        Parameter name -> tensor on the CPU, under torchvision's names (see `canonical_names`).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint, is damaged, or needs code to be opened.
        ImportError: a ``.safetensors`` file, and safetensors is not installed.
    """
    return open_weights(path).state


def open_weights(path: str | Path) -> Weights:
    """Read a file of weights as `read_state_dict` does, with what it says about itself."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: wanted a file of weights, found nothing there")
    if path.is_dir():
        raise ValueError(f"{path}: wanted a file of weights, found a folder")
    if path.suffix.lower() == ".safetensors":
        weights = read_weights(path)
        return replace(weights, state=_checked(path, weights.state))
    content = read_pickled(path)
    return Weights(_checked(path, content), _about(content))


def _about(content: Any) -> dict[str, Any]:
    """What the checkpoint of a training run says of its network, as its best weights do."""
    is_run = isinstance(content, Mapping) and {"recipe", "about", "model"} <= content.keys()
    return dict(content["about"]) if is_run and isinstance(content["about"], Mapping) else {}


def _checked(path: Path, content: Any) -> dict[str, Tensor]:
    """The state dict in a file's content, under torchvision's names."""
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: wanted a dict of tensors, found a {type(content).__name__}")
    foreign = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if foreign or not content:
        found = f"{foreign[0]!r}: {type(content[foreign[0]]).__name__}" if foreign else "none"
        raise ValueError(f"{path}: wanted a dict of tensors, found {found}")
    for name, tensor in content.items():
        if tensor.layout != torch.strided:
            raise ValueError(f"{path}: wanted dense tensors, found {name} as {tensor.layout}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path}: wanted finite weights, found NaN or infinity in {name}")
    return canonical_names({str(name): tensor for name, tensor in content.items()})


def load_model(
    path: str | Path, name: str | None = None, num_classes: int | None = None, **options: Any
) -> ResNet | VGG:
    """Build the network that a file of weights belongs to, and load them strictly.

    Depth, form, shortcut, channels, classes and activation are read from the names and shapes in
    the file; what they do not show, from its description, if it was written by ``spikeconv train``.

    Args:
        path: as in `read_state_dict`.
        name: model that the file must hold, such as ``"resnet20"``, or None for any; ``"vgg16"``
            is one with or without batch norm.
        num_classes: classes that it must have, or None for any.
        **options: fields of the configuration that weights do not show, such as ``pooling="avg"``
            for a VGG; they take precedence over the description.

    Returns:
        The ANN in eval mode, on the CPU, in float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not hold the wanted weights; the message names the file, what was
            wanted and what was found.
        ImportError: as in `read_state_dict`.
    """
    weights = open_weights(path)
    said = weights.about.get("config", {})
    unseen = {field: said[field] for field in _UNSEEN if field in said}
    try:
        model = from_state_dict(weights.state, **{**unseen, **options})
    except ValueError as error:
        wanted = f"weights of {name}" if name is not None else "weights of a ResNet or VGG"
        raise ValueError(f"{path}: wanted {wanted}; {error}") from error
    found = model.config
    if name is not None:
        wanted_config = model_config(name)
        either = (wanted_config.name, f"{wanted_config.name}_bn")  # `train` calls both vgg16
        same = type(found) is type(wanted_config) and found.name in either
        if isinstance(found, ResNetConfig) and isinstance(wanted_config, ResNetConfig):
            # Depth 50 with three stages is no resnet50: the stages decide, not their sum.
            same = same and found.blocks == wanted_config.blocks
        if not same:
            raise ValueError(f"{path}: wanted weights of {name}, found those of {found}")
    if num_classes is not None and found.num_classes != num_classes:
        raise ValueError(f"{path}: wanted {num_classes} classes, found weights of {found}")
    return model


def from_state_dict(state: Mapping[str, Tensor], **options: Any) -> ResNet | VGG:
    """Build the network that a state dict belongs to, and load it strictly.

    Args:
        state: parameter name -> tensor, of torchvision's ResNets and VGGs, of the CIFAR ResNets
            with option-A shortcuts, or of this package's models.
        **options: as in `load_model`.

    Returns:
        The ANN in eval mode, on the CPU, in float32.

    Raises:
        ValueError: the names or shapes are those of no network known here.

    Example:
        >>> from spikeconv.models import build_model
        >>> state = build_model("resnet32", num_classes=7).state_dict()
        >>> from_state_dict(state).config.name
        'resnet32'
    """
    state = canonical_names(state)
    model = build(with_options(infer_config(state), options))
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        # torch lists every parameter on a line of its own; the first three say enough.
        lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise ValueError(
            f"found {model.config}, but not exactly: {' '.join(lines[:3])}{more}"
        ) from error
    return model.eval()


def read_pickled(path: Path) -> Any:
    """Read what `torch.save` wrote, without running code that the file may hold.

    Raises:
        ValueError: the file is something else, is damaged, or needs code to be opened.
    """
    with path.open("rb") as stream:
        return _unpickle(stream, path)


def _unpickle(stream: BinaryIO, path: Path) -> Any:
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except _NOT_A_CHECKPOINT as error:
        # "... Unsupported global: GLOBAL posix.system was not an allowed global by default."
        refused = re.search(r"GLOBAL (\S+)", str(error))
        # A checkpoint's own names, cut off in the middle, are damage and no foreign code.
        if refused and not refused[1].startswith(("torch._utils.", "collections.")):
            raise ValueError(
                f"{path}: wanted weights only, found a pickle that refers to code "
                f"({refused[1]!r}); it was not run. "
                "Save model.state_dict() instead of the model"
            ) from error
        raise ValueError(
            f"{path}: wanted a checkpoint written by torch.save or a .safetensors file, found "
            f"something that is neither or is damaged ({path.stat().st_size:,} bytes)"
        ) from error
