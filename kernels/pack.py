"""Trains of spikes to fields of bytes, and back."""

from __future__ import annotations

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from .casts import to_float32
from .fields import get, padded, planes_for, put

_BLOCK = 1024


@triton.jit
def pack_kernel(
    train_ptr: tl.tensor,
    fields_ptr: tl.tensor,
    T: tl.tensor,
    pixels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    strides: tl.tuple,  # of the train: time, image, channel, row, column
    PIXEL: tl.constexpr,  # channels rounded up
    BITS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    q = tl.program_id(1).to(tl.int64)
    c = n % PIXEL
    pixel = n // PIXEL
    y = pixel // width
    image = y // height
    x = pixel - y * width
    y = y - image * height
    here = image * strides[1] + c * strides[2] + y * strides[3] + x * strides[4]
    inside = pixel < pixels
    byte = tl.zeros([BLOCK], tl.int32)
    for field in tl.static_range(8 // BITS):
        t = q * (8 // BITS) + field
        s = tl.load(train_ptr + t * strides[0] + here, mask=inside & (c < channels) & (t < T))
        s = to_float32(s).to(tl.int32) if s.dtype.is_floating() else s.to(tl.int32)
        byte |= tl.where((c < channels) & (t < T), put(s, BITS, field), 0)
    tl.store(fields_ptr + q * pixels * PIXEL + n, byte.to(tl.int8), mask=inside)


@triton.jit
def unpack_kernel(
    fields_ptr: tl.tensor,
    train_ptr: tl.tensor,  # int8 [T, B, C, H, W], dense
    T: tl.tensor,
    places: tl.tensor,  # B * C * H * W
    plane: tl.tensor,  # bytes
    channels: tl.tensor,
    places_of_image: tl.tensor,  # H * W
    PIXEL: tl.constexpr,
    BITS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    q = tl.program_id(1).to(tl.int64)
    place = n % places_of_image
    c = n // places_of_image % channels
    image = n // places_of_image // channels
    inside = n < places
    here = q * plane + (image * places_of_image + place) * PIXEL + c
    byte = tl.load(fields_ptr + here, mask=inside, other=0)
    for field in tl.static_range(8 // BITS):
        t = q * (8 // BITS) + field
        s = get(byte, BITS, field).to(tl.int8)
        tl.store(train_ptr + t * places + n, s, mask=inside & (t < T))


def pack(train: Tensor, bits: int) -> Tensor:
    """A train `[T, B, C, H, W]` of any dtype and strides as fields."""
    T, B, C, H, W = train.shape
    fields = train.new_empty((planes_for(T, bits), B, H, W, padded(C)), dtype=torch.int8)
    if train.numel() == 0:
        return fields
    train = train.view(torch.uint8) if train.dtype == torch.bool else train
    grid = (triton.cdiv(fields[0].numel(), _BLOCK), len(fields))
    with torch.cuda.device(train.device) if train.is_cuda else nullcontext():
        pack_kernel[grid](
            train, fields, T, B * H * W, H, W, C, train.stride(),
            PIXEL=fields.shape[-1], BITS=bits, BLOCK=_BLOCK,
        )  # fmt: skip
    return fields


def unpack(fields: Tensor, bits: int, T: int, channels: int) -> Tensor:
    """The train int8 `[T, B, C, H, W]` of T steps that fields hold."""
    _, B, H, W, pixel = fields.shape
    train = fields.new_empty((T, B, channels, H, W))
    if train.numel() == 0:
        return train
    places = B * channels * H * W
    grid = (triton.cdiv(places, _BLOCK), len(fields))
    with torch.cuda.device(fields.device) if fields.is_cuda else nullcontext():
        unpack_kernel[grid](
            fields, train, T, places, fields[0].numel(), channels, H * W,
            PIXEL=pixel, BITS=bits, BLOCK=_BLOCK,
        )  # fmt: skip
    return train
