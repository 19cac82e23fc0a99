"""Which engines there are, and which one runs a program on a device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.encoder import Encoder
from spikeconv.fuse.engine import Engine, IntegerProgram
from spikeconv.fuse.gpu import TritonEngine
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops import triton
from spikeconv.ops.native import cpp_unavailable


@dataclass(frozen=True)
class _Kind:
    """An engine: what makes one, and why it cannot run on a type of device, or None."""

    make: Callable[[IntegerProgram, Iterable[Encoder]], Engine]
    unavailable: Callable[[str], str | None]


# The best of those that run is the first.
_ENGINES = {
    "cpp": _Kind(CpuEngine, cpp_unavailable),
    "triton": _Kind(TritonEngine, triton.unavailable),
    "reference": _Kind(ReferenceEngine, lambda device_type: None),
}


def check_backend(backend: str | None) -> None:
    """Raise ValueError for a name that no engine has."""
    if backend is not None and backend not in tuple(_ENGINES):  # whatever it is
        known = ", ".join(map(repr, _ENGINES))
        raise ValueError(f"fuse: backend must be one of {known} or None, got {backend!r}")


def make_engine(
    program: IntegerProgram,
    encoders: Iterable[Encoder],
    device: torch.device,
    backend: str | None,
) -> Engine:
    """The engine asked for, here or in SPIKECONV_BACKEND, else the best that runs on the device.

    Raises:
        ValueError: the engine that was asked for does not run on the device.
    """
    asked = backend or os.environ.get("SPIKECONV_BACKEND") or None
    if asked in _ENGINES:
        reason = _ENGINES[asked].unavailable(device.type)
        if reason is not None:
            raise ValueError(f"fuse: backend {asked!r} cannot run here: {reason}")
        return _ENGINES[asked].make(program, encoders)
    return next(
        kind.make(program, encoders)
        for kind in _ENGINES.values()
        if kind.unavailable(device.type) is None
    )
