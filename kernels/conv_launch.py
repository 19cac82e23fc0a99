"""Launching the convolution kernel: its tile, and its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .conv_if import conv_if_kernel
from .conv_sums import Dense, Each

ROWS = 128
"""Output channels of weights and parameters come in multiples of it, zeros after the last."""

WRITTEN = ("spikes", "count", "v_after", "net_after")
"""What a launch fills, those that are given."""

# Up to here all offsets fit 32 bits, also past the end in the last program.
NARROW_LIMIT = 2**31 - 2**20


@dataclass(frozen=True)
class Tile:
    """What a program of the convolution kernel owns, and how.

    Attributes:
        pixels, channels: of the output; powers of two, 16 or more where there are matrix products.
        steps: time-steps whose sums are held at once, 1, 2, 4, 8 or 16.
        chunk: terms of the sums that are loaded at once, a power of two of 32 or more.
        num_warps: 32 threads each.
        num_stages: chunks on their way at the same time.
        joined: steps that are rows of one matrix product, 1, 2 or 4; `steps` is a multiple of it.
    """

    pixels: int
    channels: int
    steps: int
    chunk: int
    num_warps: int
    num_stages: int
    joined: int = 1


@dataclass(frozen=True)
class DensePass:
    """One pass over weights: what the code is made for, fields `[planes, B, H, W, C]`, weights
    `[rows, taps * span]`, and int32 `[rows]`, their sums up to the last pass."""

    spec: Dense
    spikes: Tensor
    weight: Tensor
    sums: Tensor


@dataclass(frozen=True)
class EachTerm:
    """A term in which a channel reads one channel, with int32 coefficients `[taps, rows]`."""

    spec: Each
    spikes: Tensor
    coefficient: Tensor


def conv_if(
    dense: Sequence[DensePass],
    each: Sequence[EachTerm],
    *,
    theta: Tensor,
    v: Tensor,
    bias: Tensor,
    net: Tensor | None,
    spikes: Tensor | None,
    count: Tensor | None,
    v_after: Tensor | None,
    net_after: Tensor | None,
    T: int,
    done: int,
    shape: tuple[int, int, int, int],
    shift: int,
    signed: bool,
    tile: Tile,
    warmup: bool = False,
) -> Any:
    """Fill what is given of `WRITTEN`.

    Args:
        dense, each: what enters.
        theta: int32 `[rows]`.
        v: int32 `[rows]`, or `[1, H, W, K]` or `[B, H, W, K]`, dense.
        bias: int32 `[S, rows]` or `[S, H, W, K]`, dense: of step t, from `done` on, row
            min(t, S - 1).
        net: int32 `[B, H, W, K]`, dense, where neurons are signed and there were steps before.
        spikes: fields, as in `fields`.
        count, v_after, net_after: int32 `[B, H, W, K]`, dense.
        T: time-steps, 1 or more.
        done: steps before.
        shape: (B, H, W, K).
        shift: of the sums over weights.
        signed: whether neurons also fire -1.
        tile: how.
        warmup: only compile.
    """
    B, H, W, K = shape
    given = (v, bias, net, spikes, count, v_after, net_after)
    largest = max(
        B * H * W * K,
        *(tensor.numel() for tensor in given if tensor is not None),
        *(max(one.spikes.numel(), one.weight.numel()) for one in dense),
        *(one.spikes.numel() for one in each),
    )
    device = theta.device
    factors, sums = tl.int8, tl.int32
    if dense and dense[0].weight.dtype == torch.bfloat16:
        # The interpreter multiplies bfloat16 as if it were integers.
        factors, sums = tl.float32 if triton.knobs.runtime.interpret else tl.bfloat16, tl.float32
    grid = (triton.cdiv(B * H * W, tile.pixels), triton.cdiv(K, tile.channels))
    arguments = {
        "dense_spikes": tuple(one.spikes for one in dense),
        "dense_weights": tuple(one.weight for one in dense),
        "dense_sums": tuple(one.sums for one in dense),
        "dense_sizes": tuple(_size(one.spikes) for one in dense),
        "each_spikes": tuple(one.spikes for one in each),
        "each_coefficients": tuple(one.coefficient for one in each),
        "each_sizes": tuple(_size(one.spikes) for one in each),
        "theta_ptr": theta,
        "v_ptr": v,
        "bias_ptr": bias,
        "net_ptr": net,
        "spikes_ptr": spikes,
        "count_ptr": count,
        "v_after_ptr": v_after,
        "net_after_ptr": net_after,
        "T": T,
        "done": done,
        "bias_rows": bias.shape[0],
        "images": B,
        "height": H,
        "width": W,
        "channels": K,
        "pixel": 16 if spikes is None else spikes.shape[-1],
        "rows": theta.numel(),
        "v_image": v.stride(0) if v.dim() == 4 and v.shape[0] > 1 else 0,
        "DENSE": tuple(one.spec for one in dense),
        "EACH": tuple(one.spec for one in each),
        "SHIFT": shift,
        "SIGNED": signed,
        "V_PER_NEURON": v.dim() == 4,
        "BIAS_PER_NEURON": bias.dim() == 4,
        "FACTORS": factors,
        "SUMS": sums,
        "WHOLE": T % tile.steps == 0,
        "WIDE": largest > NARROW_LIMIT,
        "PIXELS": tile.pixels,
        "CHANNELS": tile.channels,
        "STEPS": tile.steps,
        "JOINED": tile.joined,
        "CHUNK": tile.chunk,
        "STAGES": tile.num_stages,
        "num_warps": tile.num_warps,
    }
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        if warmup:
            return conv_if_kernel.warmup(grid=grid, **arguments)
        return conv_if_kernel[grid](**arguments)


def _size(spikes: Tensor) -> tuple[int, int, int, int]:
    """Height, width, bytes of a plane, planes."""
    planes, _, height, width, _ = spikes.shape
    return height, width, spikes[0].numel(), planes
