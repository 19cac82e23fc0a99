"""Where a neuron's values lie in an operand of any strides, and what lies there."""

from __future__ import annotations

import triton
import triton.language as tl

from .launch import FLAT

# Kernels see globals only as constexpr.
FLAT_DIMS = tl.constexpr(FLAT)


@triton.jit
def offsets(
    n: tl.tensor,  # [BLOCK] int64, neuron indices
    sizes: tl.tuple,
    strides: tl.tuple,
    RANK: tl.constexpr,
    DIMS: tl.constexpr,
    WIDE: tl.constexpr,
) -> tl.tensor:
    if DIMS == FLAT_DIMS:
        return n
    else:
        # The digits of n in base `sizes`, last dimension first. Dividing in 64 bits costs several
        # times as much as in 32, products with strides are always made in 64.
        offset = tl.zeros_like(n)
        rest = n if WIDE else n.to(tl.uint32)
        for d in tl.static_range(RANK - 1, -1, -1):
            size = tl.cast(sizes[d], rest.dtype)
            if (DIMS >> d) & 1:
                digit = rest % size if d > 0 else rest
                offset += digit.to(tl.int64) * tl.cast(strides[d], tl.int64)
            rest = rest // size
        return offset


@triton.jit
def load_parameter(
    ptr: tl.tensor,
    n: tl.tensor,
    mask: tl.tensor,
    sizes: tl.tuple,
    strides: tl.tuple,
    RANK: tl.constexpr,
    DIMS: tl.constexpr,
    WIDE: tl.constexpr,
) -> tl.tensor:
    if DIMS == 0:
        return tl.load(ptr)
    else:
        return tl.load(ptr + offsets(n, sizes, strides, RANK, DIMS, WIDE), mask=mask)
