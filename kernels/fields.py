"""Spikes as fields of bytes: what a population of the integer program keeps in GPU memory.

A byte holds `8 / bits` time-steps of one neuron, step t in the byte of plane `t * bits // 8` from
bit `t * bits % 8` on. One bit is 0 or 1; two, four and eight are two's complement. Planes lie one
after the other, each `[B, H, W, C]` with the channels rounded up to `ALIGN`, so that a 16-byte load
holds 16 channels of a pixel and the bytes beyond the last channel are zeros.

A matrix unit takes a field where it is. Masked out of its byte and not shifted, the spikes of step
t come as numbers `s * 2^(t * bits % 8)`, four to a register and one instruction for the four; the
sums of weight and spike are shifted back once, after the last of them.
"""

from __future__ import annotations

import triton
import triton.language as tl

ALIGN = 16
"""Channels of a pixel come in multiples of it."""

LARGEST_FACTOR = 128
"""How far from 0 a masked field can be: sums of weights times it must fit 32 bits."""

# Steps that kernels handle between two turns of their loop over time; so many steps of any format
# fill whole planes, hence every field's place is known when the kernel is compiled.
TURN = 8
TURN_STEPS = tl.constexpr(TURN)


def bits_for(largest: int, signed: bool) -> int:
    """Bits of a field that holds sums of spikes up to `largest`, at most 127.

    >>> bits_for(1, signed=False), bits_for(1, signed=True), bits_for(4, signed=False)
    (1, 2, 4)
    """
    if largest <= 1:
        return 2 if signed else 1
    return 4 if largest <= 7 else 8


def planes_for(steps: int, bits: int) -> int:
    """Planes that hold so many time-steps.

    >>> planes_for(16, 1), planes_for(9, 2)
    (2, 3)
    """
    return -(-steps * bits // 8)


def padded(channels: int) -> int:
    """Channels of a pixel with the zeros after the last.

    >>> padded(3), padded(64)
    (16, 64)
    """
    return -(-channels // ALIGN) * ALIGN


@triton.jit
def get(x: tl.tensor, BITS: tl.constexpr, FIELD: tl.constexpr) -> tl.tensor:
    """int32 values of a field of bytes."""
    y = (x.to(tl.int32) << (32 - BITS * (FIELD + 1))) >> (32 - BITS)
    return -y if BITS == 1 else y


@triton.jit
def factor(x: tl.tensor, BITS: tl.constexpr, FIELD: tl.constexpr) -> tl.tensor:
    """int8 factors of a matrix product, one instruction for four bytes; `product` undoes them."""
    if BITS == 8:
        return x
    elif BITS * (FIELD + 1) == 8:
        # The byte's highest field: negative where it is, as its sign is the byte's.
        return x & -(1 << (BITS * FIELD))
    elif BITS == 1:
        return x & (1 << FIELD)
    else:
        # With the sign bit turned over it is s + 2^(BITS - 1), never negative.
        return (x ^ (1 << (BITS * FIELD + BITS - 1))) & (((1 << BITS) - 1) << (BITS * FIELD))


@triton.jit
def product(
    acc: tl.tensor,  # sums of weight * factor, int32
    weight_sums: tl.tensor,  # sums of all weights, broadcasting to acc
    BITS: tl.constexpr,
    FIELD: tl.constexpr,
    UP: tl.constexpr,
) -> tl.tensor:
    """The sums of weight * s that sums of weight * factor stand for, times 2^UP modulo 2^32."""
    # Sums of a field end in the zeros of its place, so that the two shifts are one.
    LEFT: tl.constexpr = UP - (BITS * FIELD if BITS < 8 else 0)
    shifted = acc >> -LEFT if LEFT < 0 else acc << LEFT
    if BITS == 8:
        return shifted
    elif BITS * (FIELD + 1) == 8:
        return -shifted if BITS == 1 else shifted
    elif BITS == 1:
        return shifted
    else:
        return shifted - (weight_sums << (BITS - 1 + UP))


@triton.jit
def put(s: tl.tensor, BITS: tl.constexpr, FIELD: tl.constexpr) -> tl.tensor:
    """int32 values as a field of 32 bits, to be joined with others by `|`."""
    return (s & ((1 << BITS) - 1)) << (BITS * FIELD)
