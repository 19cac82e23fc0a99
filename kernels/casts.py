"""Casts of a kernel that are exact, or round to nearest even, compiled and interpreted alike.

bfloat16 is taken by its bits, which is what the GPU does too: Triton's interpreter truncates where
it should round, and loses subnormals.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def to_float32(x: tl.tensor) -> tl.tensor:
    if x.dtype == tl.bfloat16:
        bits = x.to(tl.uint16, bitcast=True).to(tl.uint32) << 16
        return bits.to(tl.float32, bitcast=True)
    else:
        return x.to(tl.float32)


@triton.jit
def round_to(value: tl.tensor, dtype: tl.constexpr) -> tl.tensor:
    # value: float32. What is beyond the dtype becomes infinite, NaN stays NaN.
    if dtype == tl.bfloat16:
        bits = value.to(tl.uint32, bitcast=True)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        rounded = tl.where((bits & 0x7FFFFFFF) > 0x7F800000, 0x7FC0, rounded)
        return rounded.to(tl.uint16).to(tl.bfloat16, bitcast=True)
    else:
        return value.to(dtype)
