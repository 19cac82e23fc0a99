"""What some neurons of a spiking network did on a few images, and the file that keeps it.

The file is safetensors: tensors and a description in JSON, nothing that could run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikeconv.files.library import import_safetensors
from spikeconv.network.error_shares import KINDS
from spikeconv.output import replacing

VERSION = 1
STEPS, LAYERS = 4096, 512
"""A recording holds so many at most."""

_KEY = "spikeconv_recording"
_LARGEST_FILE = 2**30
_LARGEST_ERROR = 1e9


@dataclass(frozen=True)
class LayerRecording:
    """One neuron layer: N of its neurons on B images over T steps, and how often all have fired.

    Attributes:
        layer: where the activation stands in the network that was converted.
        shape: all neurons of one image.
        neurons: which were recorded, int64 ``[N]``, counted through `shape`.
        spikes: -1, 0 or 1, int8 ``[T, B, N]``.
        v: potential after each step, float32 ``[T, B, N]``.
        v_threshold: theta, float32 ``[N]``.
        v_init: potential before the first step, float32 ``[N]``.
        activation: the ANN's, float32 ``[B, N]``.
        fired: how many of all neurons on all images fired at 0, 1, ..., T steps, int64 ``[T + 1]``.
        shares: the error and the shares of its parts, as `spikeconv.network.error_shares` gives
            them; empty where it cannot.
    """

    layer: str
    shape: tuple[int, ...]
    neurons: Tensor
    spikes: Tensor
    v: Tensor
    v_threshold: Tensor
    v_init: Tensor
    activation: Tensor
    fired: Tensor
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """What `spikeconv.network.record.record` gives.

    Attributes:
        layers: in order.
        before: recorded steps before the readout, the first of all.
        starts: the steps, counted from 0, before which all neurons start from an initial potential:
            the first, and those after which SRP or COS let them start anew.
        evaluation: what `spikeconv evaluate` measured of the same network, or of its form in
            integers, as its JSON has it; empty where nothing was.
    """

    layers: tuple[LayerRecording, ...]
    before: int = 0
    starts: tuple[int, ...] = (0,)
    evaluation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def T(self) -> int:
        """Steps that were recorded."""
        return len(self.layers[0].spikes)

    @property
    def images(self) -> int:
        """Images that were recorded."""
        return self.layers[0].spikes.shape[1]

    def labels(self) -> list[str]:
        """Names of the layers, in order."""
        return [layer.layer for layer in self.layers]

    def chosen(self, labels: Sequence[str]) -> list[LayerRecording]:
        """The layers of these names.

        Raises:
            ValueError: there is none of a name; says which there are.
        """
        by_label = {layer.layer: layer for layer in self.layers}
        for label in labels:
            if label not in by_label:
                raise ValueError(
                    f"no layer {label!r} was recorded; there are {', '.join(by_label)}"
                )
        return [by_label[label] for label in labels]


def write_recording(path: str | Path, recording: Recording) -> None:
    """Write a recording as ``.safetensors``, the whole new file or none.

    Raises:
        ValueError, FileNotFoundError: it cannot be written there.
        ImportError: safetensors is not installed.
    """
    safetensors = import_safetensors(path)
    tensors = {
        f"{index}.{name}": getattr(layer, name).contiguous()
        for index, layer in enumerate(recording.layers)
        for name in _TENSORS
    }
    about = {
        "version": VERSION,
        "before": recording.before,
        "starts": recording.starts,
        "evaluation": dict(recording.evaluation),
        "layers": [
            {"layer": layer.layer, "shape": layer.shape, "shares": dict(layer.shares)}
            for layer in recording.layers
        ],
    }
    with replacing(path) as partial:
        safetensors.torch.save_file(tensors, partial, {_KEY: json.dumps(about, allow_nan=False)})


def read_recording(path: str | Path) -> Recording:
    """Read what `write_recording` has written; every value is checked before it is used.

    Raises:
        ValueError: the file is something else, damaged, or of a later version.
        FileNotFoundError: there is none.
        ImportError: safetensors is not installed.
    """
    about, tensors = _opened(Path(path))
    try:
        return _recording(about, tensors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{path}: wanted a recording of spikeconv evaluate --record: {what}"
        ) from error


_TENSORS = {
    "neurons": torch.int64,
    "spikes": torch.int8,
    "v": torch.float32,
    "v_threshold": torch.float32,
    "v_init": torch.float32,
    "activation": torch.float32,
    "fired": torch.int64,
}


def _opened(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """The description and the tensors of a file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: wanted a recording, found no file")
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path}: wanted a recording, found a file of more than a gigabyte")
    safetensors = import_safetensors(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                raise ValueError(
                    f"{path}: wanted a recording of spikeconv evaluate --record, found another "
                    ".safetensors file"
                )
            about = json.loads(text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path}: wanted a recording of spikeconv evaluate --record, found something else or a "
            f"damaged one ({error})"
        ) from error
    return about, tensors


def _recording(about: Any, tensors: Mapping[str, Tensor]) -> Recording:
    """The recording of a description and tensors of any origin.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they are of none.
    """
    version = about["version"]
    if version != VERSION:
        raise ValueError(f"it is of version {version!r}, and this spikeconv reads {VERSION}")
    if not isinstance(about["layers"], list) or not 1 <= len(about["layers"]) <= LAYERS:
        raise ValueError(f"it must hold 1 to {LAYERS} layers")
    layers = tuple(
        _layer(described, {name: tensors[f"{index}.{name}"] for name in _TENSORS})
        for index, described in enumerate(about["layers"])
    )
    T, B, _ = layers[0].spikes.shape
    if T > STEPS:
        raise ValueError(f"it must hold {STEPS} steps at most, got {T}")
    if any(layer.spikes.shape[:2] != (T, B) for layer in layers):
        raise ValueError("its layers differ in steps or images")
    if len({layer.layer for layer in layers}) < len(layers):
        raise ValueError("two of its layers have one name")
    before, starts = about["before"], about["starts"]
    if not all(type(step) is int and 0 <= step <= T for step in (before, *starts)):
        raise ValueError(f"before and starts must be in 0..{T}, got {before!r} and {starts!r}")
    if not isinstance(about["evaluation"], dict):
        raise TypeError("evaluation must be an object")
    return Recording(layers, before, tuple(starts), about["evaluation"])


def _layer(about: Any, found: Mapping[str, Tensor]) -> LayerRecording:
    label, shape, shares = about["layer"], tuple(about["shape"]), about["shares"]
    if not isinstance(label, str):
        raise TypeError(f"the name of a layer must be text, got {label!r}")
    for name, dtype in _TENSORS.items():
        if found[name].dtype != dtype:
            raise TypeError(f"{name} of {label} must be {dtype}, got {found[name].dtype}")
    if found["spikes"].dim() != 3 or 0 in found["spikes"].shape:
        raise ValueError(f"spikes of {label} must be [T, B, N] and not empty")
    T, B, N = found["spikes"].shape
    wanted = {
        "neurons": (N,),
        "spikes": (T, B, N),
        "v": (T, B, N),
        "v_threshold": (N,),
        "v_init": (N,),
        "activation": (B, N),
        "fired": (T + 1,),
    }
    for name, size in wanted.items():
        if tuple(found[name].shape) != size:
            raise ValueError(f"{name} of {label} must be {size}, got {tuple(found[name].shape)}")
        if not bool(torch.isfinite(found[name].double()).all()):
            raise ValueError(f"{name} of {label} holds NaN or infinity")
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(f"shape of {label} must be sizes above 0, got {shape}")
    neurons, spikes = found["neurons"], found["spikes"]
    if not 0 <= int(neurons.min()) <= int(neurons.max()) < math.prod(shape):
        raise ValueError(f"neurons of {label} must be among its {math.prod(shape)}")
    if not -1 <= int(spikes.min()) <= int(spikes.max()) <= 1:
        raise ValueError(f"spikes of {label} must be -1, 0 or 1")
    if not bool((found["v_threshold"] > 0).all()):
        raise ValueError(f"v_threshold of {label} must be above 0")
    if not bool((found["fired"] >= 0).all()) or int(found["fired"].sum()) != B * math.prod(shape):
        raise ValueError(f"fired of {label} must count its neurons on all images")
    _check_shares(label, shares)
    return LayerRecording(label, shape, shares=shares, **found)


def _check_shares(label: str, shares: Any) -> None:
    if not isinstance(shares, dict) or (shares and shares.keys() != {"error", *KINDS}):
        raise TypeError(f"shares of {label} must be the error and its parts, or none")
    for name, value in shares.items():
        most = _LARGEST_ERROR if name == "error" else 1.001
        if type(value) not in (int, float) or not 0 <= value <= most:
            raise ValueError(f"share {name} of {label} must be in 0..{most:g}, got {value!r:.40}")
