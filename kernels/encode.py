"""Static currents to spikes in fields of bytes, in one kernel, with what leads to the currents.

Behind a convolution come its bias, a max-pool where there is one, the neurons, and the packing of
their spikes. Each alone would wait for memory; together they read the convolution's output once.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from .fields import padded, planes_for
from .if_multistep import step

# Pixels and channels of a program: of a pixel so many are whole sectors of memory, as currents in
# channels-last order and as fields.
_PLACES, _CHANNELS = 32, 64


@triton.jit(do_not_specialize=["T"])
def encode_kernel(
    x_ptr: tl.tensor,  # float32 [B, C, h, w]
    offset_ptr: tl.tensor,  # float32 [C], or None
    theta_ptr: tl.tensor,  # float32 [C, H, W]; so are the next two
    v_ptr: tl.tensor,
    bias_ptr: tl.tensor,  # or None
    fields_ptr: tl.tensor,
    T: tl.tensor,
    images: tl.tensor,
    places: tl.tensor,  # of an image: H * W
    columns: tl.tensor,  # W
    channels: tl.tensor,
    height: tl.tensor,  # h
    width: tl.tensor,  # w
    strides: tl.tuple,  # of x: image, channel, row, column
    theta_strides: tl.tuple,  # channel, row, column
    v_strides: tl.tuple,
    bias_strides: tl.tuple,
    PIXEL: tl.constexpr,  # channels rounded up
    PLANES: tl.constexpr,
    KERNEL: tl.constexpr,  # of the max-pool, (vertical, horizontal); so are the next three
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    PLACES: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    tiles = tl.cdiv(places, PLACES)
    image = (tl.program_id(0) // tiles).to(tl.int64)
    p = (tl.program_id(0) % tiles) * PLACES + tl.arange(0, PLACES).to(tl.int64)[:, None]
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS).to(tl.int64)[None, :]
    inside = (p < places) & (c < channels)
    y, x = p // columns, p % columns

    ROWS: tl.constexpr = KERNEL[0]
    COLUMNS: tl.constexpr = KERNEL[1]
    largest = tl.full([PLACES, CHANNELS], float("-inf"), tl.float32)
    for ky in tl.static_range(ROWS):
        for kx in tl.static_range(COLUMNS):
            row = y * STRIDE[0] - PADDING[0] + ky * DILATION[0]
            column = x * STRIDE[1] - PADDING[1] + kx * DILATION[1]
            seen = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            at = image * strides[0] + c * strides[1] + row * strides[2] + column * strides[3]
            value = tl.load(x_ptr + at, mask=inside & seen, other=float("-inf"))
            largest = tl.maximum(largest, value, propagate_nan=tl.PropagateNan.ALL)
    if offset_ptr is not None:
        # Rounding turns no two numbers around: the largest of sums is the sum with the largest.
        largest += tl.load(offset_ptr + c, mask=c < channels, other=0)

    at = c * theta_strides[0] + y * theta_strides[1] + x * theta_strides[2]
    theta = tl.load(theta_ptr + at, mask=inside, other=1)
    at = c * v_strides[0] + y * v_strides[1] + x * v_strides[2]
    v = tl.load(v_ptr + at, mask=inside, other=0)
    bias = None
    if bias_ptr is not None:
        at = c * bias_strides[0] + y * bias_strides[1] + x * bias_strides[2]
        bias = tl.load(bias_ptr + at, mask=inside, other=0)
    word = tl.zeros([PLACES, CHANNELS], tl.int32)
    t = 0
    while t < T:  # not range(): Triton's interpreter cannot make one of T
        v, word = step(
            largest, t, v, word, theta, bias, v, v, v, None, None, p, inside, places,
            False, False, True, "words", None,
        )  # fmt: skip
        t += 1
    word = tl.where(inside, word, 0)
    for q in tl.static_range(PLANES):
        there = ((q * images + image) * places + p) * PIXEL + c
        tl.store(fields_ptr + there, (word >> 8 * q).to(tl.int8), mask=(p < places) & (c < PIXEL))


def encode(
    x: Tensor,
    offset: Tensor | None,
    window: tuple[tuple[int, int], ...],
    theta: Tensor,
    v: Tensor,
    bias: Tensor | None,
    T: int,
) -> Tensor:
    """Spikes of T steps of unsigned neurons under the current ``max over a window of x, + offset``.

    Args:
        x: float32 ``[B, C, h, w]``, of any strides.
        offset: float32 ``[C]``, dense, or None for zeros.
        window: the max-pool's kernel, stride, padding and dilation, each (vertical, horizontal).
        theta: float32 ``[C, H, W]``, of any strides, 0 too; H and W are the neurons' own.
        v: likewise, before the first step.
        bias: likewise, added at each step; or None.
        T: 1 to 32.

    Returns:
        Fields of one bit, as in `fields`.
    """
    B = len(x)
    C, H, W = theta.shape
    fields = x.new_empty((planes_for(T, 1), B, H, W, padded(C)), dtype=torch.int8)
    if fields.numel() == 0:
        return fields
    kernel, stride, padding, dilation = window
    pixel = fields.shape[-1]
    channels = min(_CHANNELS, triton.next_power_of_2(pixel))
    grid = (B * triton.cdiv(H * W, _PLACES), triton.cdiv(pixel, channels))
    with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
        encode_kernel[grid](
            x, offset, theta, v, bias, fields, T, B, H * W, W, C, *x.shape[2:],
            x.stride(), theta.stride(), v.stride(), () if bias is None else bias.stride(),
            PIXEL=pixel, PLANES=len(fields),
            KERNEL=kernel, STRIDE=stride, PADDING=padding, DILATION=dilation,
            PLACES=_PLACES, CHANNELS=channels, num_warps=8,
            enable_fp_fusion=False,  # (v + x) + b is rounded twice
        )  # fmt: skip
    return fields
