"""Sums of spikes over windows of pixels, for every time-step: fields in, wider fields out."""

from __future__ import annotations

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from .fields import TURN, TURN_STEPS, get, planes_for, put

_BLOCK = 512


@triton.jit
def pool_kernel(
    fields_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    planes: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    sum_planes: tl.tensor,
    sum_height: tl.tensor,
    sum_width: tl.tensor,
    images: tl.tensor,
    KERNEL: tl.constexpr,  # (vertical, horizontal), like the next two
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    PIXEL: tl.constexpr,
    BITS: tl.constexpr,
    SUM_BITS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    FIELDS: tl.constexpr = 8 // BITS
    SUM_FIELDS: tl.constexpr = 8 // SUM_BITS
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    turn = tl.program_id(1).to(tl.int64)
    size = tl.cast(images, tl.int64) * sum_height * sum_width * PIXEL
    inside = n < size
    c = n % PIXEL
    place = n // PIXEL
    oy = place // sum_width
    ox = place - oy * sum_width
    image = oy // sum_height
    oy = oy - image * sum_height
    plane = tl.cast(images, tl.int64) * height * width * PIXEL
    sums: tl.tuple = ()
    for _ in tl.static_range(TURN_STEPS):
        sums += (tl.zeros([BLOCK], tl.int32),)
    for ky in tl.range(0, KERNEL[0]):
        for kx in tl.range(0, KERNEL[1]):
            y = oy * STRIDE[0] - PADDING[0] + ky
            x = ox * STRIDE[1] - PADDING[1] + kx
            seen = inside & (y >= 0) & (y < height) & (x >= 0) & (x < width)
            here = ((image * height + y) * width + x) * PIXEL + c
            added: tl.tuple = ()
            for p in tl.static_range(BITS):  # planes of a turn of eight steps
                q = turn * BITS + p
                s = tl.load(fields_ptr + q * plane + here, mask=seen & (q < planes), other=0)
                for field in tl.static_range(FIELDS):
                    added += (sums[p * FIELDS + field] + get(s, BITS, field),)
            sums = added
    for p in tl.static_range(SUM_BITS):
        q = turn * SUM_BITS + p
        byte = tl.zeros([BLOCK], tl.int32)
        for field in tl.static_range(SUM_FIELDS):
            byte |= put(sums[p * SUM_FIELDS + field], SUM_BITS, field)
        tl.store(sums_ptr + q * size + n, byte.to(tl.int8), mask=inside & (q < sum_planes))


def pool(
    fields: Tensor,
    bits: int,
    T: int,
    sum_bits: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    size: tuple[int, int],
) -> Tensor:
    """Sums of T steps' fields over windows, as fields of `sum_bits` bits, `size` pixels."""
    _, B, H, W, pixel = fields.shape
    sums = fields.new_empty((planes_for(T, sum_bits), B, *size, pixel))
    if sums.numel() == 0:
        return sums
    grid = (triton.cdiv(sums[0].numel(), _BLOCK), triton.cdiv(T, TURN))
    with torch.cuda.device(fields.device) if fields.is_cuda else nullcontext():
        pool_kernel[grid](
            fields, sums, len(fields), H, W, len(sums), *size, B,
            KERNEL=kernel, STRIDE=stride, PADDING=padding, PIXEL=pixel,
            BITS=bits, SUM_BITS=sum_bits, BLOCK=_BLOCK,
        )  # fmt: skip
    return sums
