"""Files of weights that say what they are: safetensors with a description and thresholds inside.

The description is JSON in the file's metadata. Thresholds stand beside the weights, a tensor
``theta.<path of the activation>`` ``[len(T), channels]`` for each, so that a spiking network can be
made without any image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikeconv.files.library import import_safetensors
from spikeconv.models.rounded import from_int8, to_int8
from spikeconv.output import replacing

_METADATA = "spikeconv"
_THETA = "theta."


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Args:
        state: parameter name -> tensor.
        about: what made them, as JSON has it: ``model``, ``config``, ``dataset``, ``mean``,
            ``std``, ``recipe``, ``held_out``, ``epoch``, ...; empty for a file of another origin.
        thresholds: path of an activation -> its thresholds, float32 ``[len(T), channels]``, for the
            time-steps in ``about["thresholds_T"]``.
    """

    state: dict[str, Tensor]
    about: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, Tensor] = field(default_factory=dict)


def write_weights(path: str | Path, weights: Weights, int8: bool = False) -> None:
    """Write a ``.safetensors`` file: the whole new one, or none.

    Args:
        path: the file.
        weights: what it will hold.
        int8: round the weights to 8 bits (see `to_int8`), a quarter of the size.

    Raises:
        ValueError, FileNotFoundError: it cannot be written there.
        ImportError: safetensors is not installed.
    """
    safetensors = import_safetensors(path)
    state = to_int8(weights.state) if int8 else weights.state
    state = {**state, **{_THETA + name: theta for name, theta in weights.thresholds.items()}}
    # Copies: the format knows no two names for one memory.
    tensors = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    with replacing(path) as partial:
        safetensors.torch.save_file(tensors, partial, {_METADATA: json.dumps(weights.about)})


def read_weights(path: str | Path) -> Weights:
    """Read a ``.safetensors`` file, this package's or another's.

    Raises:
        ValueError: the file is something else or damaged.
        ImportError: safetensors is not installed.
    """
    safetensors = import_safetensors(path)
    if Path(path).is_dir():
        raise ValueError(f"{path}: wanted a .safetensors file, found a folder")
    try:
        with safetensors.safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_METADATA)
            names = file.keys()
            # Their own memory: what is mapped would change with the file.
            tensors = {name: file.get_tensor(name).clone() for name in names}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path}: wanted a .safetensors file, found something else or a damaged one ({error})"
        ) from error
    if text is None:
        return Weights(tensors)
    return Weights(
        from_int8({n: tensor for n, tensor in tensors.items() if not n.startswith(_THETA)}),
        _description(path, text),
        {n.removeprefix(_THETA): tensors[n] for n in tensors if n.startswith(_THETA)},
    )


def _description(path: str | Path, text: str) -> dict[str, Any]:
    try:
        about = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: its description is no JSON ({error})") from error
    if not isinstance(about, Mapping):
        raise ValueError(f"{path}: wanted a description that is a dict, found {about!r}")
    return dict(about)
