"""Opening the files that `SpikingNetwork.save` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from spikeconv.files.file import read_file
from spikeconv.files.malformed import REFUSALS, Malformed, said
from spikeconv.files.values import short
from spikeconv.models.spiking import SpikingResNet, SpikingVGG
from spikeconv.network.network import SpikingNetwork
from spikeconv.network.parts import Parts

_KINDS: Mapping[str, type[SpikingNetwork]] = {
    kind.__name__: kind for kind in (SpikingNetwork, SpikingResNet, SpikingVGG)
}


def load(path: str | Path, device: str | torch.device = "cpu") -> SpikingNetwork:
    """Open a spiking network that was written by ``snn.save(path)``.

    No code in the file is run: it names functions and layers that this package knows, and holds
    numbers. Nothing of the network is run either, before it is called.

    Args:
        path: the file.
        device: where the network shall be.

    Returns:
        The network that was saved, of the same class and with the same report; the bits of its
        outputs are the same on the same machine. It needs no gradients.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is something else, damaged, or of a later version; the device is
            none, or one that is not here.
        ImportError: safetensors is not installed.

    Example:
        >>> import os, tempfile
        >>> from torch import nn
        >>> from spikeconv.convert import convert
        >>> ann, images = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.rand(32, 4)
        >>> snn = convert(ann, images, T=8, progress=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     snn.save(os.path.join(folder, "snn.safetensors"))
        ...     again = load(os.path.join(folder, "snn.safetensors"))
        >>> torch.equal(again(images), snn(images))
        True
    """
    place = _place(device)
    try:
        return assembled(read_file(path)).to(place)
    except Malformed as error:
        raise ValueError(f"{path}: no spiking network can be made of this file: {error}") from error


def _place(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"load: device must be one of torch, such as 'cpu' or 'cuda', got {device!r}"
        ) from error
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if place.type == "cuda" and (place.index or 0) >= there:
        raise ValueError(
            f"load: device is {str(device)!r}, but torch finds {there or 'no'} CUDA GPUs here; "
            "leave it out for the CPU"
        )
    try:
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ValueError(
            f"load: device is {str(device)!r}, which torch cannot use here; "
            "leave it out for the CPU"
        ) from error
    return place


def assembled(parts: Parts) -> SpikingNetwork:
    """The network that is made of these parts.

    Raises:
        Malformed: it is of an unknown class, or not one of its class.
    """
    if parts.kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise Malformed(f"{short(parts.kind)} is no spiking network; those known are {known}")
    try:
        network = _KINDS[parts.kind](
            parts.program,
            {**parts.layers, **parts.originals},
            {**parts.neurons},
            {**parts.constants},
            parts.T,
            parts.report,
            parts.timing,
            {name: parts.layers[name] for name in parts.originals},
        )
    except TypeError as error:
        raise Malformed(str(error)) from error
    network.requires_grad_(False)
    if parts.precision is None:
        return network
    try:
        return network.fuse(parts.precision)
    except REFUSALS as error:
        raise Malformed(f"it cannot be fused: {said(error)}") from error
