"""Weights of a layer as passes of matrix products whose sums are exact.

A matrix unit sums weight * factor, with factors as far from 0 as the format of the spikes makes
them. Passes follow one another in one accumulator while no such sum can leave it, whatever the
spikes; then the sums are taken to their own units, and the next passes begin at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeconv.fuse.engine import Source
from spikeconv.fuse.layer import Convolution, bytes_of

GROUPED_TILE = 32
"""Output channels of a tile where a convolution has groups: its weights are laid out for it."""

# Terms of a sum that are added up together where sums are cut.
_BLOCK = 128


@dataclass
class Pass:
    """Weights that one pass of matrix products reads.

    Attributes:
        source: name.
        bits: of a field of the source's spikes.
        weight: int8 or bfloat16 ``[rows, taps * span]``.
        span: input channels of a tap that a tile of output channels reads, 16 at a time.
        depth: (first, last + 1) of the terms.
        convolution: kernel, stride, padding, dilation.
        group: (output, input) channels of a group, (0, 0) where there is one.
        byte: of the weights, from the lowest on: its sums count 256^byte times.
        last: its sums end here.
        sums: int32 ``[rows]``, where sums end: of all weights in them.
    """

    source: str
    bits: int
    weight: Tensor
    span: int
    depth: tuple[int, int]
    convolution: Convolution
    group: tuple[int, int]
    byte: int
    last: bool = False
    sums: Tensor | None = None


def passes(
    convolutions: Sequence[Convolution],
    sources: Mapping[str, Source],
    bits: Mapping[str, int],
    rows: int,
    padded: Callable[[int], int],
    multiply: str,
) -> list[Pass]:
    """Passes over the weights of convolutions.

    Args:
        convolutions: that are no depthwise ones.
        sources: what they read, by name.
        bits: of a field of each.
        rows: output channels, rounded up.
        padded: channels of a pixel, from those of a source.
        multiply: ``"int8"``, with sums in int32, or ``"bf16"``, with sums in float32.
    """
    whole: list[Pass] = []
    for convolution in convolutions:
        channels = sources[convolution.source].shape[0]
        for byte, part in enumerate(bytes_of(convolution.weight)):
            weight, span, group = laid_out(part, convolution.groups, rows, padded(channels))
            depth = (0, weight.shape[1])
            name = convolution.source
            whole.append(Pass(name, bits[name], weight, span, depth, convolution, group, byte))
    whole.sort(key=lambda one: (one.byte, one.bits))
    cut = _cut(whole, multiply)
    if multiply == "bf16":
        for one in cut:
            one.weight = one.weight.to(torch.bfloat16)
    return cut


def largest_sum(bits: int, multiply: str) -> int:
    """The largest sum of |weight| whose sums with spikes of any values stay exact.

    In int32 a factor is at most 128 from 0. In float32 sums of integers are exact below 2^24, and
    so are they times a power of two: of the factors only the part beyond that power counts.

    >>> largest_sum(1, "int8"), largest_sum(1, "bf16"), largest_sum(2, "bf16")
    (16777215, 16777215, 5592405)
    """
    if multiply == "int8":
        return (2**31 - 1) // 128
    return (2**24 - 1) // {1: 1, 2: 3, 4: 15, 8: 128}[bits]


def laid_out(
    weight: Tensor, groups: int, rows: int, pixel: int
) -> tuple[Tensor, int, tuple[int, int]]:
    """Weights ``[K, C / groups, kh, kw]`` as a matrix ``[rows, taps * span]``, its span and group.

    With groups a tile of output channels reads the groups that it is part of, from a multiple of 16
    input channels on; where it reads those of another, there are zeros.
    """
    K, C, kh, kw = weight.shape
    by_tap = weight.permute(0, 2, 3, 1).reshape(K, kh * kw, C)
    if groups == 1:
        span, group = pixel, (0, 0)
        starts = torch.zeros(K, dtype=torch.int64, device="cpu")
    else:
        group = (K // groups, C)
        k = torch.arange(K, device="cpu")
        first = k // GROUPED_TILE * GROUPED_TILE
        last = (first + GROUPED_TILE - 1).clamp(max=K - 1)
        begin = first // group[0] * C // 16 * 16
        end = (last // group[0] + 1) * C
        span = -(-int((end - begin).max()) // 16) * 16
        starts = k // group[0] * C - begin
    matrix = torch.zeros(rows, kh * kw, span, dtype=weight.dtype, device="cpu")
    index = (starts.view(-1, 1, 1) + torch.arange(C, device="cpu")).expand(K, kh * kw, C)
    matrix[:K].scatter_(2, index, by_tap.cpu())
    return matrix.flatten(1), span, group


def _cut(whole: Sequence[Pass], multiply: str) -> list[Pass]:
    """The same passes, cut where sums have to end."""
    pieces: list[Pass] = []
    for one in whole:
        limit = largest_sum(one.bits, multiply)
        before = pieces[-1] if pieces else None
        if before is None or (before.byte, before.bits) != (one.byte, one.bits):
            reached = torch.zeros(len(one.weight), dtype=torch.int64, device="cpu")
            if before is not None:
                before.last = True
        begin, depth = 0, one.weight.shape[1]
        for start in range(0, depth, _BLOCK):
            block = one.weight[:, start : start + _BLOCK].to(torch.int64).abs().sum(1)
            if int((reached + block).max()) > limit:
                if start > begin:
                    pieces.append(_piece(one, begin, start))
                pieces[-1].last = True
                begin, reached = start, torch.zeros_like(reached)
            reached = reached + block
        pieces.append(_piece(one, begin, depth))
    if pieces:
        pieces[-1].last = True
    sums = torch.zeros((), dtype=torch.int64, device="cpu")
    for piece in pieces:
        sums = sums + piece.weight[:, slice(*piece.depth)].sum(1, dtype=torch.int64)
        if piece.last:
            piece.sums = sums.to(torch.int32)
            sums = torch.zeros((), dtype=torch.int64, device="cpu")
    return pieces


def _piece(one: Pass, begin: int, end: int) -> Pass:
    return Pass(
        one.source,
        one.bits,
        one.weight,
        one.span,
        (begin, end),
        one.convolution,
        one.group,
        one.byte,
    )
