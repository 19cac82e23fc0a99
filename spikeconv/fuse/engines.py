"""Which engines there are, and which one runs a program on a device."""

from __future__ import annotations

from collections.abc import Callable

import torch

from spikeconv.fuse.engine import Engine, IntegerProgram, ReferenceEngine

_ENGINES: dict[str, Callable[[IntegerProgram], Engine]] = {"reference": ReferenceEngine}


def check_backend(backend: str | None) -> None:
    """Raise ValueError for a name that no engine has."""
    if backend is not None and backend not in _ENGINES:
        known = ", ".join(map(repr, _ENGINES))
        raise ValueError(f"fuse: backend must be one of {known} or None, got {backend!r}")


def make_engine(program: IntegerProgram, device: torch.device, backend: str | None) -> Engine:
    """The engine asked for, else the best that runs on the device.

    Raises:
        ValueError: the engine that was asked for does not run on the device.
    """
    return _ENGINES[backend or "reference"](program)
