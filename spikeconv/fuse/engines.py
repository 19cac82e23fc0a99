"""Which engines there are, and which one runs a program on a device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import torch

from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.encoder import Encoder
from spikeconv.fuse.engine import Engine, IntegerProgram
from spikeconv.fuse.gpu import TritonEngine
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops import triton
from spikeconv.ops.backends import FROM_ENVIRONMENT, named_by_environment, unavailable
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


def choose_engine(backend: str | None, device: torch.device) -> str:
    """Name of the engine asked for, here or in SPIKECONV_BACKEND, else of the device's best.

    The variable may name a backend of neurons that no engine shares its name with, ``"cuda"``: then
    too the best engine is taken, where that backend runs.

    Raises:
        ValueError: what was asked for does not run on the device, or the variable names nothing.
    """
    asked = "backend"
    if backend is None and (backend := named_by_environment()) is not None:
        asked = FROM_ENVIRONMENT
    if backend is not None:
        if backend in _ENGINES:
            reason = _ENGINES[backend].unavailable(device.type)
        else:
            reason = unavailable(backend, device.type)
        if reason is not None:
            raise ValueError(f"fuse: {asked} {backend!r} cannot run here: {reason}")
        if backend in _ENGINES:
            return backend
    best = next(n for n, kind in _ENGINES.items() if kind.unavailable(device.type) is None)
    if best == "reference":
        _warn_of_reference(device.type)
    return best


@cache
def _warn_of_reference(device_type: str) -> None:
    """Say once why nothing faster than the definition runs on a type of device."""
    others = {name: kind.unavailable(device_type) for name, kind in _ENGINES.items()}
    said = "; ".join(f"{name}: {reason}" for name, reason in others.items() if reason is not None)
    warnings.warn(
        f"fuse: networks in integers run in plain torch on {device_type}, which gives the same "
        f"spikes many times slower. What is faster cannot run: {said}",
        stacklevel=2,
    )


def make_engine(name: str, program: IntegerProgram, encoders: Iterable[Encoder]) -> Engine:
    """The engine with that name, one that `choose_engine` gave."""
    return _ENGINES[name].make(program, encoders)
