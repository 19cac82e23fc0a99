"""Spike trains that are kept for later, a bit a step."""

from __future__ import annotations

import torch
from torch import Tensor

_BITS = 8


class PackedTrain:
    """A train of -1, 0 and 1 in an eighth of a byte a step; in twice that where -1 is in it.

    Args:
        train: int8 or uint8 ``[T, *]``.

    Example:
        >>> packed = PackedTrain(torch.tensor([[1, 0], [0, -1], [1, 1]], dtype=torch.int8))
        >>> packed.unpacked(torch.float32).tolist(), packed.count().tolist()
        ([[1.0, 0.0], [0.0, -1.0], [1.0, 1.0]], [2, 0])
    """

    def __init__(self, train: Tensor) -> None:
        self.steps = len(train)
        self.positive = _pack(train > 0)
        signed = train.dtype.is_signed and bool((train < 0).any())
        self.negative = _pack(train < 0) if signed else None

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        """The train ``[T, *]``."""
        train = _unpack(self.positive, self.steps, dtype)
        return train if self.negative is None else train - _unpack(self.negative, self.steps, dtype)

    def count(self) -> Tensor:
        """The sum over time, int32 ``[*]``."""
        count = _count(self.positive)
        return count if self.negative is None else count - _count(self.negative)


def _pack(train: Tensor) -> Tensor:
    """Bools ``[T, *]`` as uint8 ``[ceil(T / 8), *]``; bit k of byte i is step 8 i + k."""
    bits = train.to(torch.uint8)
    packed = bits[::_BITS].clone()
    for k in range(1, min(_BITS, len(bits))):
        shifted = bits[k::_BITS] << k
        packed[: len(shifted)] |= shifted
    return packed


def _unpack(packed: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """The first `steps` of such bits."""
    train = torch.empty(steps, *packed.shape[1:], dtype=dtype, device=packed.device)
    for k in range(min(_BITS, steps)):
        out = train[k::_BITS]
        out.copy_((packed[: len(out)] >> k) & 1)
    return train


def _count(packed: Tensor) -> Tensor:
    """How many bits are set, over dimension 0."""
    for k, mask in ((1, 0x55), (2, 0x33), (4, 0x0F)):  # sums of pairs, of fours, of all eight
        packed = (packed & mask) + ((packed >> k) & mask)
    return packed.sum(0, dtype=torch.int32)
