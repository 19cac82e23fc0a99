"""What a converted network has and torch has not: the rectifier, max pooling in time, reshaping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx.node import has_side_effect

from spikeconv.ops.check import ShapeError


class Rectifier(nn.Module):
    """min(max(x, 0), cap): every spelling of ReLU, and what a neuron stands for.

    With levels, cap / levels * floor(min(max(x / cap, 0), 1) * levels + 1/2), bit for bit as QCFS.

    Args:
        cap: the activation's upper bound; infinity for none.
        levels: steps between 0 and cap that the activation was trained with, if it was.
        trained: training chose the cap, so it is a threshold for the network as it is.
    """

    def __init__(
        self, cap: float = math.inf, levels: int | None = None, *, trained: bool = False
    ) -> None:
        super().__init__()
        self.cap = cap
        self.levels = levels
        self.trained = trained

    def forward(self, x: Tensor) -> Tensor:
        if self.levels is None:
            return x.clamp(min=0) if math.isinf(self.cap) else x.clamp(0, self.cap)
        # Divided by tensors: by a number, some devices would multiply with its reciprocal.
        cap = torch.full((), self.cap, dtype=x.dtype, device=x.device)
        levels = torch.full((), self.levels, dtype=x.dtype, device=x.device)
        return ((x / cap).clamp(0, 1) * levels + 0.5).floor() * (cap / levels)

    def like(self) -> Rectifier:
        """Another of the same kind, for another call site."""
        return Rectifier(self.cap, self.levels, trained=self.trained)

    def without_levels(self) -> Rectifier:
        """The same bound, and every value below it."""
        return Rectifier(self.cap, trained=self.trained)

    def extra_repr(self) -> str:
        said = [] if math.isinf(self.cap) else [f"cap={self.cap:g}"]
        return ", ".join(said if self.levels is None else [*said, f"levels={self.levels}"])


class Largest(nn.Module):
    """The largest value over dimensions of every image: a max pool over all of them.

    Args:
        dims: dimensions of ``[B, *]``, of which 0 is none.
        keepdim: keep them, with size 1.
    """

    def __init__(self, dims: tuple[int, ...], keepdim: bool = False) -> None:
        super().__init__()
        self.dims = dims
        self.keepdim = keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(self.dims, self.keepdim)

    def extra_repr(self) -> str:
        return f"dims={self.dims}, keepdim={self.keepdim}"


@dataclass
class PoolState:
    """What a temporal max pool carries from one chunk of time to the next."""

    total: Tensor | None = None
    pooled: Tensor | None = None

    def keep(self, images: Tensor) -> None:
        """Forget all images of the batch but these."""
        self.total = None if self.total is None else self.total[images]
        self.pooled = None if self.pooled is None else self.pooled[images]


def temporal_max_pool(pool: nn.Module, x: Tensor, state: PoolState) -> Tensor:
    """Max pooling of the running sum, emitted as its increments.

    With c_t = x_1 + ... + x_t, step t gives pool(c_t) - pool(c_{t-1}), so the sum over time is
    pool(c_T): the pool of the mean signal, which is the ANN's, where pooling every step for itself
    would give the mean of maxima, which is larger.

    Args:
        pool: a max pool over ``[B, ...]``.
        x: ``[T, B, ...]``.
        state: carried on to the next chunk of time; changed.

    Returns:
        ``[T, B, ...]`` pooled.
    """
    # Of half precision a running sum would soon lose its last steps.
    wide = torch.promote_types(x.dtype, torch.float32)
    total = torch.zeros_like(x[0], dtype=wide) if state.total is None else state.total
    pooled = pool(total) if state.pooled is None else state.pooled
    steps = []
    for current in x:
        total = total + current
        before, pooled = pooled, pool(total)
        steps.append((pooled - before).to(x.dtype))
    state.total, state.pooled = total, pooled
    return torch.stack(steps)


def reshape_samples(x: Tensor, *sizes: int) -> Tensor:
    """Reshape every sample of ``[B, ...]`` to `sizes`; the batch size is x's own.

    >>> reshape_samples(torch.zeros(4, 2, 3), -1).shape
    torch.Size([4, 6])
    """
    if x.numel() == 0 and -1 in sizes:
        known = math.prod(size for size in sizes if size != -1)
        inferred = math.prod(x.shape[1:]) // known if known else 0
        sizes = tuple(inferred if size == -1 else size for size in sizes)
    return x.reshape(x.shape[0], *sizes)


def reshape_like(x: Tensor, size: Sequence[int]) -> Tensor:
    """Reshape every sample of ``[B, ...]`` to the samples of a batch of that size."""
    return reshape_samples(x, *size[1:])


def squeeze_samples(x: Tensor) -> Tensor:
    """Take every dimension of size 1 from the samples of ``[B, ...]``; the batch stays.

    >>> squeeze_samples(torch.zeros(1, 2, 1, 1)).shape
    torch.Size([1, 2])
    """
    return x.reshape(x.shape[0], *(size for size in x.shape[1:] if size != 1))


RESHAPES = (reshape_samples, reshape_like, squeeze_samples)
"""Functions that give the samples of a tensor another shape."""


def same_decision(actual: float, wanted: float) -> None:
    """Check, for the images of a call, what sizes have decided in a forward while it was traced.

    Args:
        actual: a size, or what was computed of sizes.
        wanted: the same of the images that the network was converted with.

    Raises:
        ShapeError: they differ, so that the forward may go another way.
    """
    if actual != wanted:
        raise ShapeError(
            f"the network's forward depends on a size, or on what it computes of sizes, that was "
            f"{wanted} and is {actual}; convert it once more with images of the other size"
        )


has_side_effect(same_decision)  # so that graphs keep it, though nothing reads what it gives
