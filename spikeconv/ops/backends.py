"""Which backends there are, which can run here, and which one a call takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch

from spikeconv.ops import native, reference, triton
from spikeconv.ops.call import BackwardCall, Call

_STORED = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Backend:
    """One implementation: what runs calls, on which devices and dtypes, or why it cannot."""

    name: str
    run: Callable[[Call], None]
    run_backward: Callable[[BackwardCall], None]
    unavailable: Callable[[str], str | None]
    device_types: tuple[str, ...] = ()
    dtypes: tuple[torch.dtype, ...] = _STORED
    # Neuron dimensions that surely can be walked; more may still merge into so many.
    max_dims: int | None = None


_BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            "reference",
            reference.run,
            reference.run_backward,
            lambda device_type: None,
            dtypes=(*_STORED, torch.float64),
        ),
        Backend("cpp", native.run_cpp, native.run_cpp_backward, native.cpp_unavailable, ("cpu",)),
        Backend(
            "triton",
            triton.run,
            triton.run_backward,
            triton.unavailable,
            ("cuda", "cpu"),
            max_dims=8,
        ),
        Backend(
            "cuda",
            native.run_cuda,
            native.run_cuda_backward,
            native.cuda_unavailable,
            ("cuda",),
            max_dims=8,
        ),
    )
}

# The order of an automatic choice; which of triton and cuda leads is for a GPU benchmark to say.
_PREFERENCE = {"cpu": ("cpp", "reference"), "cuda": ("triton", "cuda", "reference")}

FROM_ENVIRONMENT = "backend (from SPIKECONV_BACKEND)"
"""What an error calls it."""


def backends() -> dict[str, str | None]:
    """Every backend's name, with None where it can run on this machine, else the reason why not.

    >>> backends()["reference"] is None
    True
    """
    return {
        name: next(
            (None for device in backend.device_types if backend.unavailable(device) is None),
            backend.unavailable(backend.device_types[0]) if backend.device_types else None,
        )
        for name, backend in _BACKENDS.items()
    }


def check_name(name: str | None, asked: str = "backend") -> None:
    """Raise ValueError for a name that no backend has."""
    if name is not None and name not in _BACKENDS:
        known = ", ".join(repr(known) for known in _BACKENDS)
        raise ValueError(f"if_multistep: {asked} must be one of {known} or None, got {name!r}")


def named_by_environment() -> str | None:
    """The backend that SPIKECONV_BACKEND names, None where it names none.

    Raises:
        ValueError: the name is unknown.
    """
    name = os.environ.get("SPIKECONV_BACKEND") or None
    check_name(name, FROM_ENVIRONMENT)
    return name


def unavailable(name: str, device_type: str) -> str | None:
    """Why a backend cannot run on a type of device, or None."""
    return _BACKENDS[name].unavailable(device_type)


def resolve(name: str | None, x: torch.Tensor, dims: int = 1) -> Backend:
    """The backend for x: the one asked for (or in SPIKECONV_BACKEND), else the best that runs.

    `dims` are x's neuron dimensions, without time.

    Raises:
        ValueError: the name is unknown, or that backend cannot run on x's device.
        TypeError: that backend does not take x's dtype.
    """
    asked = "backend"
    check_name(name, asked)
    if name is None and (name := named_by_environment()):
        asked = FROM_ENVIRONMENT
    if name is not None:
        backend = _BACKENDS[name]
        reason = backend.unavailable(x.device.type)
        if reason is not None:
            raise ValueError(f"if_multistep: {asked} {name!r} cannot run here: {reason}")
        if x.dtype not in backend.dtypes:
            raise TypeError(
                f"if_multistep: {asked} {name!r} takes float32, float16 and bfloat16, "
                f"got x of {x.dtype}; backend='reference' takes float64 too"
            )
        return backend
    for preferred in _PREFERENCE.get(x.device.type, ()):
        backend = _BACKENDS[preferred]
        fits = x.dtype in backend.dtypes and (backend.max_dims is None or dims <= backend.max_dims)
        if fits and backend.unavailable(x.device.type) is None:
            return backend
    return _BACKENDS["reference"]
