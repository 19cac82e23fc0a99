"""One checked call of an operator: what every backend is handed, and the outputs it fills."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeconv.surrogate import BUILT_IN, BuiltIn

EMITS = ("spikes", "psp", "uint8", "words", "count")
RESETS = ("soft", "hard")
FIRES = ("ge", "gt")
RETURN_VS = ("last", "all")
SURROGATES = (*BUILT_IN, "given")
WORD_BITS = 32
LARGEST_COUNT = 2**31 - 1

# Channels-last is the one other dense layout that convolutions produce; its rank tells which.
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True, kw_only=True)
class Population:
    """Neurons and their current; parameters are in the state dtype and broadcast to `shape`.

    `x` is `[T, *shape]`, or `[*shape]` where `static`; `bias` may have time too, and is then
    `[T, *]` with one dimension more than `shape`.
    """

    x: Tensor
    v_threshold: Tensor
    v_init: Tensor
    bias: Tensor | None
    count_init: Tensor | None
    T: int
    static: bool
    hard: bool
    v_reset: float
    tie_fires: bool

    @property
    def shape(self) -> torch.Size:
        """Shape of the population, without time."""
        return self.x.shape if self.static else self.x.shape[1:]


@dataclass(frozen=True, kw_only=True)
class Call(Population):
    """A run through time, after the checks.

    `emitted` and `v` are dense in the memory order `memory_order` of the neuron dimensions, with
    time outermost where they have it.
    """

    signed: bool
    emit: str
    return_v: str | None
    emitted: Tensor
    v: Tensor | None


@dataclass(frozen=True, kw_only=True)
class BackwardCall(Population):
    """The same run backwards: from gradients of what it returned to gradients of what it was given.

    The former are dense like the outputs of `Call`; None is 0. The latter are to be filled where
    they are not None, dense likewise; all but `grad_x` are in the state dtype.
    """

    grad_emitted: Tensor | None  # [T, *]
    grad_v: Tensor | None  # [T, *] where v was returned after every step, else [*]
    psp: bool  # emitted was theta * s
    trace: bool  # grad_v has time
    detach_reset: bool
    surrogate: BuiltIn | Tensor  # or its derivative, at every step [T, *], dense likewise
    grad_x: Tensor | None  # [T, *] in the dtype of x
    grad_m: Tensor | None  # [T, *]: of the potential before the reset
    grad_sum: Tensor | None  # [*]: the sum of that over time
    grad_threshold: Tensor | None  # [*], one of each neuron
    grad_v_init: Tensor | None  # [*], likewise


def in_numbers(surrogate: BuiltIn | Tensor) -> tuple[str, tuple[float, float], Tensor | None]:
    """A surrogate as compiled kernels take it: a name, the numbers of its formula, or a tensor."""
    if isinstance(surrogate, Tensor):
        return "given", (0.0, 0.0), surrogate
    return surrogate.name, surrogate.coefficients, None


def state_dtype(x: Tensor) -> torch.dtype:
    """dtype of the membrane: float32, or float64 where x is float64."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def has_time(bias: Tensor, shape: torch.Size) -> bool:
    """Whether a bias is one for each time-step of a population of that shape."""
    return bias.dim() == len(shape) + 1


def _is_channels_last(current: Tensor) -> bool:
    """Whether one step's current `[*]` is dense in channels-last order and not in plain order."""
    memory_format = _CHANNELS_LAST.get(current.dim())
    if memory_format is None or current.is_contiguous():
        return False
    return current.is_contiguous(memory_format=memory_format)


def memory_order(current: Tensor) -> tuple[int, ...]:
    """Neuron dimensions as they lie in the outputs' memory, outermost first."""
    dims = tuple(range(current.dim()))
    return (dims[0], *dims[2:], dims[1]) if _is_channels_last(current) else dims


def empty(current: Tensor, T: int | None, dtype: torch.dtype) -> Tensor:
    """Uninitialised `[*]` or `[T, *]`, each step in the layout of `current`."""
    lead = [] if T is None else [T]
    if not _is_channels_last(current):
        return current.new_empty([*lead, *current.shape], dtype=dtype)
    order = memory_order(current)
    dense = current.new_empty(lead + [current.shape[d] for d in order], dtype=dtype)
    back = [order.index(d) + len(lead) for d in range(current.dim())]
    return dense.permute([*range(len(lead)), *back])


def is_laid_out(values: Tensor, current: Tensor) -> bool:
    """Whether `[*]` or `[T, *]` lies in memory as `empty` would lay it out for that current."""
    lead = values.dim() - current.dim()
    wanted = 1
    for dim in (*range(lead), *(lead + d for d in memory_order(current)))[::-1]:
        if values.shape[dim] != 1 and values.stride(dim) != wanted:
            return False
        wanted *= values.shape[dim]
    return True


def allocate(
    x: Tensor, T: int, *, static: bool, signed: bool, emit: str, return_v: str | None
) -> tuple[Tensor, Tensor | None]:
    """Uninitialised outputs `(emitted, v)` of a checked call, real or fake."""
    current = x if static else x.select(0, 0)
    if emit in ("words", "count"):
        emitted = empty(current, None, torch.int32)
    else:
        dtype = x.dtype if emit != "uint8" else torch.int8 if signed else torch.uint8
        emitted = empty(current, T, dtype)
    if return_v is None:
        return emitted, None
    return emitted, empty(current, T if return_v == "all" else None, state_dtype(x))
