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

# Pixels and channels of a program that packs. Pixels lie side by side in trains, channels in
# fields: a tile fills whole sectors of memory in both.
_TILE = 64


@triton.jit
def pack_kernel(
    train_ptr: tl.tensor,  # a train, or int32 words of 32 steps of one bit
    fields_ptr: tl.tensor,
    T: tl.tensor,
    images: tl.tensor,
    places: tl.tensor,  # of an image: its height times its width
    channels: tl.tensor,
    strides: tl.tuple,  # of the train: time, image, channel, place
    PIXEL: tl.constexpr,  # channels rounded up
    BITS: tl.constexpr,
    WORDS: tl.constexpr,
    PLACES: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    tiles = tl.cdiv(places, PLACES)
    image = tl.program_id(0) // tiles
    p = (tl.program_id(0) - image * tiles) * PLACES + tl.arange(0, PLACES).to(tl.int64)[:, None]
    q = tl.program_id(1) // tl.cdiv(PIXEL, CHANNELS)
    c = tl.program_id(1) % tl.cdiv(PIXEL, CHANNELS) * CHANNELS
    c += tl.arange(0, CHANNELS).to(tl.int64)[None, :]
    image, q = image.to(tl.int64), q.to(tl.int64)
    here = image * strides[1] + c * strides[2] + p * strides[3]
    inside = (p < places) & (c < channels)
    if WORDS:
        byte = tl.load(train_ptr + here, mask=inside, other=0) >> (8 * q).to(tl.int32)
    else:
        byte = tl.zeros([PLACES, CHANNELS], tl.int32)
        for field in tl.static_range(8 // BITS):
            t = q * (8 // BITS) + field
            s = tl.load(train_ptr + t * strides[0] + here, mask=inside & (t < T), other=0)
            s = to_float32(s).to(tl.int32) if s.dtype.is_floating() else s.to(tl.int32)
            byte |= put(s, BITS, field)
    there = ((q * images + image) * places + p) * PIXEL + c
    tl.store(fields_ptr + there, byte.to(tl.int8), mask=(p < places) & (c < PIXEL))


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
    train = train.view(torch.uint8) if train.dtype == torch.bool else train
    return _packed(train, bits, len(train))


def pack_words(words: Tensor, T: int) -> Tensor:
    """Spikes int32 `[B, C, H, W]`, step t of at most 32 in bit t, as fields of one bit."""
    return _packed(words.unsqueeze(0), 1, T, words=True)


def _packed(train: Tensor, bits: int, T: int, *, words: bool = False) -> Tensor:
    _, B, C, H, W = train.shape
    fields = train.new_empty((planes_for(T, bits), B, H, W, padded(C)), dtype=torch.int8)
    if train.numel() == 0:
        return fields
    train = train.flatten(3)  # a copy only where rows lie apart
    pixel = fields.shape[-1]
    width = min(_TILE, triton.next_power_of_2(pixel))
    grid = (B * triton.cdiv(H * W, _TILE), len(fields) * triton.cdiv(pixel, width))
    with torch.cuda.device(train.device) if train.is_cuda else nullcontext():
        pack_kernel[grid](
            train, fields, T, B, H * W, C, train.stride(),
            PIXEL=pixel, BITS=bits, WORDS=words, PLACES=_TILE, CHANNELS=width, num_warps=8,
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
