"""Files of spiking networks: safetensors, with the description as JSON in the metadata.

A digest of the description and of all values tells a damaged file from a whole one. It is no
signature: whoever makes a file can make its digest, so what it says is still not trusted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikeconv.files.describe import VERSION, describe
from spikeconv.files.library import import_safetensors
from spikeconv.files.malformed import Malformed, said
from spikeconv.files.rebuild import rebuild
from spikeconv.files.values import short
from spikeconv.network.parts import Parts
from spikeconv.output import replacing

_METADATA = "spikeconv.network"
# Each level of a value takes two of JSON, and a value stands a few below the top.
_DEPTH = 100
_WEIGHTS = "spikeconv"  # of a file of weights, see spikeconv.models.weights


def write_file(path: str | Path, parts: Parts) -> None:
    """Write a network to a file: the whole new one, or none.

    Raises:
        TypeError: parts of it have no form in a file.
        ValueError, FileNotFoundError: it cannot be written there, or could not be read again.
        ImportError: safetensors is not installed.
    """
    safetensors = import_safetensors(path)
    description, tensors = describe(parts, "SpikingNetwork.save")
    try:
        rebuild(description, tensors)
    except Malformed as error:
        raise ValueError(
            f"SpikingNetwork.save: a file of this network could not be opened again: {error}"
        ) from error
    text = dumped(description, tensors)
    with replacing(path) as partial:
        safetensors.torch.save_file(tensors, partial, {_METADATA: text})


def read_file(path: str | Path) -> Parts:
    """Read the network that `write_file` has written, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is something else, damaged, or of a later version.
        ImportError: safetensors is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: wanted a file of a spiking network, found nothing there")
    if path.is_dir():
        raise ValueError(f"{path}: wanted a file of a spiking network, found a folder")
    metadata, tensors = _open(path)
    if _METADATA not in metadata:
        found = "weights alone, which spikeconv.models.load_model opens"
        found = found if _WEIGHTS in metadata else "a file of something else"
        raise ValueError(f"{path}: wanted a spiking network as snn.save writes it, found {found}")
    try:
        return rebuild(parsed(metadata[_METADATA], tensors), tensors)
    except Malformed as error:
        raise ValueError(f"{path}: no spiking network can be made of this file: {error}") from error


def _open(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a safetensors file."""
    safetensors = import_safetensors(path)
    # What its parser and torch have been seen to raise on bytes that are no such file.
    failures = (
        safetensors.SafetensorError,
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
        TypeError,
    )
    try:
        with safetensors.safe_open(path, "pt") as file:
            # Copies: what safetensors gives changes when somebody writes into the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (*failures, MemoryError, OverflowError, AttributeError) as error:
        raise ValueError(
            f"{path}: wanted a .safetensors file, found something else or a damaged one "
            f"({said(error)})"
        ) from error


def dumped(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A description as text, with its version and the digest of it and of the tensors."""
    content = {
        "version": VERSION,
        "sha256": _digest(description, tensors),
        "network": description,
    }
    return json.dumps(content, allow_nan=False)


def parsed(text: str, tensors: Mapping[str, Tensor]) -> Any:
    """The description in what `dumped` gives.

    Raises:
        Malformed: it is no JSON, of another version, or the digest is another.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"its description is no JSON ({said(error)})") from error
    if _depth(content) > _DEPTH:
        raise Malformed(f"its description is nested more than {_DEPTH} deep")
    if not isinstance(content, dict) or type(content.get("version")) is not int:
        raise Malformed("its description has no version")
    if content["version"] != VERSION:
        raise Malformed(
            f"it is of version {content['version']} and this spikeconv reads version {VERSION}; "
            "install a later spikeconv, or convert and save once more"
        )
    if set(content) != {"version", "sha256", "network"}:
        raise Malformed(f"its description has {short(sorted(content))}")
    if content["sha256"] != _digest(content["network"], tensors):
        raise Malformed("it is damaged, or was changed: the digest is that of other content")
    return content["network"]


def _digest(description: Any, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a description, however it is written, and of the values of all tensors."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _depth(content: Any) -> int:
    """How deep JSON is nested, found without a call for every level."""
    level, depth = [content], 0
    while level:
        inner = [item for item in level if isinstance(item, dict | list)]
        level = [x for item in inner for x in (item.values() if isinstance(item, dict) else item)]
        depth += 1
    return depth


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an object has a key twice")
    return content


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
