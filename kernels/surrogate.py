"""What stands for the derivative of a spike in the backward pass.

The same operations in the same order as spikeconv.surrogate, which is the definition: every one of
them is rounded by itself, division too.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _exp_below_zero(y: tl.tensor) -> tl.tensor:
    # y <= 0, float32; not below exp(-87).
    y = tl.where(y < -87.0, -87.0, y)
    shifted = y * 1.442695 + 12582912.0  # rounds to an integer in the last bits
    k = shifted - 12582912.0
    r = (y - k * 0.693359375) - k * -2.1219444e-4
    q = r * 0.0013814468 + 0.008368781
    q = q * r + 0.041668393
    q = q * r + 0.1666652
    q = q * r + 0.49999994
    power = ((shifted.to(tl.int32, bitcast=True) << 23) + 0x3F800000).to(tl.float32, bitcast=True)
    return ((q * (r * r) + r) + 1.0) * power


@triton.jit
def slope_at(u: tl.tensor, a: tl.tensor, b: tl.tensor, SURROGATE: tl.constexpr) -> tl.tensor:
    # The derivative at u = m - theta, float32; a and b are the numbers of the surrogate's formula.
    if SURROGATE == "atan":
        z = u * a
        return tl.div_rn(b + tl.zeros_like(u), z * z + 1.0)
    elif SURROGATE == "sigmoid":
        e = _exp_below_zero(-(tl.abs(u) * a))
        d = e + 1.0
        return tl.div_rn(e * a, d * d)
    else:
        h = a - tl.abs(u) * b
        return tl.where(h < 0, 0.0, h)  # NaN stays NaN
