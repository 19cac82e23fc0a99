"""What enters the membranes of a tile: convolutions by matrix products, and single channels.

Both add to STEPS tensors `[PIXELS, CHANNELS]`, one for each time-step of a part of a turn: number i
of the tuple is step OFFSET + i of the turn. While matrix products add up they are STEPS // JOINED
tensors `[JOINED * PIXELS, CHANNELS]`: one step after the other, the rows of so many are multiplied
at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl

from .casts import to_float32
from .fields import factor, get, product


@dataclass(frozen=True)
class Dense:
    """What the code of one pass over a convolution's weights is made for: matrix products.

    Attributes:
        bits: of a field of its spikes.
        channels: of a pixel of its spikes, the zeros after the last included.
        span: input channels that a tile of output channels reads, a multiple of 16.
        depth: (first, last + 1) of the sum's terms, counted tap by tap and in a tap by channel.
        kernel, stride, padding, dilation: (vertical, horizontal).
        group: (output, input) channels of a group; (0, 0) where there is one.
        last: its sums end here; otherwise the next pass adds to them.
        byte: of the weights, from the lowest on: its sums count 256^byte times.
    """

    bits: int
    channels: int
    span: int
    depth: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    group: tuple[int, int]
    last: bool
    byte: int


@dataclass(frozen=True)
class Each:
    """What the code of a term is made for in which an output channel reads a single input channel.

    Depthwise convolutions and shortcuts are such terms.

    Attributes:
        bits, channels, kernel, stride, padding, dilation: as of `Dense`.
        first: the output channel that reads input channel 0.
        sources: input channels.
        multiplier: output channels of an input channel.
    """

    bits: int
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    first: int
    sources: int
    multiplier: int


@triton.jit
def _stack(steps: tl.tuple, JOINED: tl.constexpr) -> tl.tensor:
    """JOINED tensors `[R, C]` as `[JOINED * R, C]`."""
    if JOINED == 1:
        return steps[0]
    elif JOINED == 2:
        both = tl.join(steps[0], steps[1]).permute(2, 0, 1)
        return both.reshape(2 * steps[0].shape[0], steps[0].shape[1])
    else:
        tl.static_assert(JOINED == 4)
        pairs = tl.join(tl.join(steps[0], steps[1]), tl.join(steps[2], steps[3]))
        return pairs.permute(3, 2, 0, 1).reshape(4 * steps[0].shape[0], steps[0].shape[1])


@triton.jit
def _unstack(rows: tl.tensor, JOINED: tl.constexpr) -> tl.tuple:
    """`[JOINED * R, C]` as JOINED tensors `[R, C]`."""
    if JOINED == 1:
        return (rows,)
    elif JOINED == 2:
        return tl.split(rows.reshape(2, rows.shape[0] // 2, rows.shape[1]).permute(1, 2, 0))
    else:
        pairs = rows.reshape(2, 2, rows.shape[0] // 4, rows.shape[1]).permute(2, 3, 1, 0)
        low, high = tl.split(pairs)
        return tl.split(low) + tl.split(high)


@triton.jit
def accumulate(
    acc: tl.tuple,  # STEPS // JOINED sums of weight * factor, [JOINED * PIXELS, CHANNELS]
    spikes_ptr: tl.tensor,
    weight_ptr: tl.tensor,  # [K rounded up, taps * span]
    size: tl.tuple,  # of its source: height, width, bytes of a plane, planes
    turn: tl.tensor,
    image: tl.tensor,
    oy: tl.tensor,
    ox: tl.tensor,
    inside: tl.tensor,
    k_first: tl.tensor,  # of k
    k: tl.tensor,
    DENSE: tl.constexpr,
    NUMBER: tl.constexpr,
    OFFSET: tl.constexpr,  # of the first step in its turn
    STEPS: tl.constexpr,
    JOINED: tl.constexpr,
    TURN: tl.constexpr,
    FACTORS: tl.constexpr,  # dtype of what is multiplied
    CHUNK: tl.constexpr,
    STAGES: tl.constexpr,
) -> tl.tuple:
    PASS: tl.constexpr = DENSE[NUMBER]
    BITS: tl.constexpr = PASS.bits
    SPAN: tl.constexpr = PASS.span
    WIDTH: tl.constexpr = PASS.kernel[1]
    DEPTH: tl.constexpr = PASS.kernel[0] * WIDTH * SPAN
    # Several steps of one plane, or several planes.
    FIELDS: tl.constexpr = STEPS if STEPS * BITS <= 8 else 8 // BITS
    PLANES: tl.constexpr = STEPS // FIELDS
    TAIL: tl.constexpr = (PASS.depth[1] - PASS.depth[0]) % CHUNK > 0
    height, width, plane, planes = size[0], size[1], size[2], size[3]
    first = turn * (TURN * BITS // 8) + OFFSET * BITS // 8
    y0 = oy * PASS.stride[0] - PASS.padding[0]
    x0 = ox * PASS.stride[1] - PASS.padding[1]
    start = 0
    if PASS.group[0] > 0:
        # The groups that this tile's channels lie in, from a multiple of 16 on.
        start = tl.multiple_of(k_first // PASS.group[0] * PASS.group[1] // 16 * 16, 16)
    for depth in tl.range(PASS.depth[0], PASS.depth[1], CHUNK, num_stages=STAGES):
        at = depth + tl.arange(0, CHUNK)
        if SPAN % CHUNK == 0:
            tap = depth // SPAN
            c = (at - tap * SPAN)[None, :]
            y = y0[:, None] + tap // WIDTH * PASS.dilation[0]
            x = x0[:, None] + tap % WIDTH * PASS.dilation[1]
        else:
            taps = at // SPAN
            c = (at - taps * SPAN)[None, :]
            y = y0[:, None] + (taps // WIDTH * PASS.dilation[0])[None, :]
            x = x0[:, None] + (taps % WIDTH * PASS.dilation[1])[None, :]
        seen = inside[:, None] & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        if TAIL:
            seen = seen & (at < PASS.depth[1])[None, :]
        if PASS.group[0] > 0:
            c += start
            seen = seen & (c < PASS.channels)
        here = ((image[:, None] * height + y) * width + x) * PASS.channels + c
        weights = weight_ptr + k[None, :] * DEPTH + at[:, None]
        if TAIL:
            w = tl.load(weights, mask=(at < PASS.depth[1])[:, None], other=0)
        else:
            w = tl.load(weights)
        w = w if w.dtype == FACTORS else to_float32(w)
        added: tl.tuple = ()
        steps: tl.tuple = ()
        for p in tl.static_range(PLANES):
            there = here + (first + p) * plane
            if PLANES > 1:
                s = tl.load(spikes_ptr + there, mask=seen & (first + p < planes), other=0)
            else:
                s = tl.load(spikes_ptr + there, mask=seen, other=0)
            for i in tl.static_range(FIELDS):
                steps += (factor(s, BITS, (OFFSET + i) % (8 // BITS)).to(FACTORS),)
                if (p * FIELDS + i) % JOINED == JOINED - 1:
                    before = acc[(p * FIELDS + i) // JOINED]
                    a = _stack(steps, JOINED)
                    added += (tl.dot(a, w, before, out_dtype=before.dtype),)
                    steps = ()
        acc = added
    return acc


@triton.jit
def add_sums(
    currents: tl.tuple,  # STEPS of [PIXELS, CHANNELS], int32
    acc: tl.tuple,  # sums of weight * factor of the same steps, [JOINED * PIXELS, CHANNELS]
    weight_sums: tl.tensor,
    DENSE: tl.constexpr,
    NUMBER: tl.constexpr,
    SHIFT: tl.constexpr,
    OFFSET: tl.constexpr,
    STEPS: tl.constexpr,
    JOINED: tl.constexpr,
) -> tl.tuple:
    PASS: tl.constexpr = DENSE[NUMBER]
    FIELDS: tl.constexpr = 8 // PASS.bits
    UP: tl.constexpr = SHIFT + 8 * PASS.byte
    added: tl.tuple = ()
    for j in tl.static_range(STEPS // JOINED):
        sums = _unstack(acc[j], JOINED)
        for i in tl.static_range(JOINED):
            total = product(
                sums[i].to(tl.int32),
                weight_sums,
                PASS.bits,
                (OFFSET + j * JOINED + i) % FIELDS,
                UP,
            )
            added += (currents[j * JOINED + i] + total,)
    return added


@triton.jit
def add_each(
    currents: tl.tuple,  # STEPS of [PIXELS, CHANNELS], int32
    spikes_ptr: tl.tensor,
    coefficient_ptr: tl.tensor,  # [taps, K rounded up]
    rows: tl.tensor,  # K rounded up
    size: tl.tuple,
    turn: tl.tensor,
    image: tl.tensor,
    oy: tl.tensor,
    ox: tl.tensor,
    inside: tl.tensor,
    k: tl.tensor,
    EACH: tl.constexpr,
    NUMBER: tl.constexpr,
    OFFSET: tl.constexpr,
    STEPS: tl.constexpr,
    TURN: tl.constexpr,
    # Whether currents are sums of matrix products. Of such as begin with zeros triton 3.6 takes the
    # comparison below for proof that all neurons of a thread have the same, and computes one.
    TIED: tl.constexpr,
) -> tl.tuple:
    TERM: tl.constexpr = EACH[NUMBER]
    BITS: tl.constexpr = TERM.bits
    FIELDS: tl.constexpr = STEPS if STEPS * BITS <= 8 else 8 // BITS
    PLANES: tl.constexpr = STEPS // FIELDS
    WIDTH: tl.constexpr = TERM.kernel[1]
    height, width, plane, planes = size[0], size[1], size[2], size[3]
    first = turn * (TURN * BITS // 8) + OFFSET * BITS // 8
    y0 = oy * TERM.stride[0] - TERM.padding[0]
    x0 = ox * TERM.stride[1] - TERM.padding[1]
    from_first = k - TERM.first
    c = from_first // TERM.multiplier
    read = inside[:, None] & ((from_first >= 0) & (c < TERM.sources))[None, :]
    for ky in tl.range(0, TERM.kernel[0]):
        for kx in tl.range(0, WIDTH):
            y = y0 + ky * TERM.dilation[0]
            x = x0 + kx * TERM.dilation[1]
            seen = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            seen = read & seen[:, None]
            here = (((image * height + y) * width + x) * TERM.channels)[:, None] + c[None, :]
            coefficient = tl.load(coefficient_ptr + (ky * WIDTH + kx) * rows + k)[None, :]
            added: tl.tuple = ()
            for p in tl.static_range(PLANES):
                there = here + (first + p) * plane
                s = tl.load(spikes_ptr + there, mask=seen & (first + p < planes), other=0)
                s = s.to(tl.int32)
                if TIED:
                    # Always true. Tied to a sum, a byte moves to the thread that has the sum before
                    # it is taken apart. Otherwise each of its fields moves, through shared memory
                    # and as four bytes, and the kernel of a layer with a shortcut spills registers.
                    s = tl.where(currents[0] >= -(2**31), s, 0)
                for i in tl.static_range(FIELDS):
                    spike = get(s, BITS, (OFFSET + i) % (8 // BITS))
                    added += (currents[p * FIELDS + i] + coefficient * spike,)
            currents = added
    return currents
