"""Convolutions and integrate-and-fire over all time-steps in one kernel, in integers.

A program owns a tile of PIXELS output pixels by CHANNELS output channels. For STEPS time-steps at a
time it sums weight * spike over the taps and input channels, one accumulator a step, so that the
rows of a matrix product are time-steps x pixels and a chunk of weights is read once for all of
them; then the neurons take those steps, one after the other. Currents and membranes stay in
registers; spikes come in as fields of bytes (`fields`) and leave as such.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from .fields import TURN_STEPS, factor, get, product, put


class Dense(NamedTuple):
    """What the code of one pass over a convolution's weights is made for: matrix products.

    Attributes:
        bits: of a field of its spikes.
        channels: of a pixel of its spikes, the zeros after the last included.
        span: input channels that a tile of output channels reads, a multiple of 16.
        depth: (first, last + 1) of the sum's terms, counted tap by tap and in a tap by channel.
        kernel, stride, padding, dilation: (vertical, horizontal).
        group: (output, input) channels of a group; (0, 0) where there is one.
        last: its sums end here; otherwise the next pass adds to them.
        high: its sums count 256 times.
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
    high: bool


class Each(NamedTuple):
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
def _accumulate(
    acc: tl.tuple,  # STEPS sums of weight * factor, [PIXELS, CHANNELS]
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
    PASS: tl.constexpr,
    OFFSET: tl.constexpr,  # of the first step in its turn
    STEPS: tl.constexpr,
    TURN: tl.constexpr,
    CHUNK: tl.constexpr,
    STAGES: tl.constexpr,
) -> tl.tuple:
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
        added: tl.tuple = ()
        for p in tl.static_range(PLANES):
            there = here + (first + p) * plane
            if PLANES > 1:
                s = tl.load(spikes_ptr + there, mask=seen & (first + p < planes), other=0)
            else:
                s = tl.load(spikes_ptr + there, mask=seen, other=0)
            for i in tl.static_range(FIELDS):
                a = factor(s, BITS, (OFFSET + i) % (8 // BITS)).to(w.dtype)
                before = acc[p * FIELDS + i]
                added += (tl.dot(a, w, before, out_dtype=before.dtype),)
        acc = added
    return acc


@triton.jit
def _add_each(
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
    TERM: tl.constexpr,
    OFFSET: tl.constexpr,
    STEPS: tl.constexpr,
    TURN: tl.constexpr,
) -> tl.tuple:
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
                for i in tl.static_range(FIELDS):
                    spike = get(s, BITS, (OFFSET + i) % (8 // BITS))
                    added += (currents[p * FIELDS + i] + coefficient * spike,)
            currents = added
    return currents


@triton.jit(do_not_specialize=["T", "done", "bias_rows", "images", "height", "width"])
def conv_if_kernel(
    dense_spikes: tl.tuple,
    dense_weights: tl.tuple,
    dense_sums: tl.tuple,  # int32 [K rounded up]: sums of the weights of the passes up to a last one
    dense_sizes: tl.tuple,
    each_spikes: tl.tuple,
    each_coefficients: tl.tuple,
    each_sizes: tl.tuple,
    theta_ptr: tl.tensor,  # int32 [K rounded up]
    v_ptr: tl.tensor,  # int32 [K rounded up], or [*, H, W, K] where V_PER_NEURON
    bias_ptr: tl.tensor,  # int32 [bias_rows, K rounded up], or [bias_rows, H, W, K]
    net_ptr: tl.tensor,  # int32 [B, H, W, K]: net count before, or None
    spikes_ptr: tl.tensor,  # fields, or None
    count_ptr: tl.tensor,  # int32 [B, H, W, K], or None; so are the next two
    v_after_ptr: tl.tensor,
    net_after_ptr: tl.tensor,
    T: tl.tensor,
    done: tl.tensor,
    bias_rows: tl.tensor,
    images: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,  # K
    pixel: tl.tensor,  # bytes of a pixel of its own spikes
    rows: tl.tensor,  # K rounded up to whole tiles
    v_image: tl.tensor,  # from one image's v to the next
    DENSE: tl.constexpr,
    EACH: tl.constexpr,
    SHIFT: tl.constexpr,
    SIGNED: tl.constexpr,
    V_PER_NEURON: tl.constexpr,
    BIAS_PER_NEURON: tl.constexpr,
    SUMS: tl.constexpr,  # dtype of sums over weights: int32, or float32 of bfloat16 weights
    WHOLE: tl.constexpr,  # T is a multiple of STEPS
    WIDE: tl.constexpr,  # offsets do not fit 32 bits
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STEPS: tl.constexpr,
    CHUNK: tl.constexpr,
    STAGES: tl.constexpr,
) -> None:
    TURN: tl.constexpr = STEPS if STEPS > TURN_STEPS else TURN_STEPS
    OUT_BITS: tl.constexpr = 2 if SIGNED else 1
    n = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    n = n.to(tl.int64) if WIDE else n
    k_first = tl.program_id(1) * CHANNELS
    k = k_first + tl.arange(0, CHANNELS)
    k = k.to(tl.int64) if WIDE else k
    inside = n < images * height * width
    image = n // (height * width)
    place = n - image * (height * width)
    oy = place // width
    ox = place - oy * width
    own = n[:, None] * channels + k[None, :]
    owned = inside[:, None] & (k < channels)[None, :]

    theta = tl.load(theta_ptr + k)[None, :]
    if V_PER_NEURON:
        here = (image * v_image + place * channels)[:, None] + k[None, :]
        v = tl.load(v_ptr + here, mask=owned, other=0)
    else:
        v = tl.zeros([PIXELS, CHANNELS], tl.int32) + tl.load(v_ptr + k)[None, :]
    net = tl.zeros([PIXELS, CHANNELS], tl.int32)
    if net_ptr is not None:
        net = tl.load(net_ptr + own, mask=owned, other=0)

    turn = 0
    while turn * TURN < T:  # not range(): Triton's interpreter cannot make one of T
        spikes = tl.zeros([PIXELS, CHANNELS], tl.int32)
        for part in tl.static_range(TURN // STEPS):
            OFFSET: tl.constexpr = part * STEPS
            first = turn * TURN + OFFSET
            if first < T:
                currents: tl.tuple = ()
                for _ in tl.static_range(STEPS):
                    currents += (tl.zeros([PIXELS, CHANNELS], tl.int32),)
                if len(DENSE) > 0:
                    empty: tl.tuple = ()
                    for _ in tl.static_range(STEPS):
                        empty += (tl.zeros([PIXELS, CHANNELS], SUMS),)
                    acc = empty
                    for d in tl.static_range(len(DENSE)):
                        acc = _accumulate(
                            acc, dense_spikes[d], dense_weights[d], dense_sizes[d], turn,
                            image, oy, ox, inside, k_first, k,
                            DENSE[d], OFFSET, STEPS, TURN, CHUNK, STAGES,
                        )  # fmt: skip
                        if DENSE[d].last:
                            BITS: tl.constexpr = DENSE[d].bits
                            weight_sums = tl.load(dense_sums[d] + k)[None, :]
                            added: tl.tuple = ()
                            for i in tl.static_range(STEPS):
                                FIELD: tl.constexpr = (OFFSET + i) % (8 // BITS)
                                total = product(acc[i].to(tl.int32), weight_sums, BITS, FIELD)
                                total = total << (SHIFT + (8 if DENSE[d].high else 0))
                                added += (currents[i] + total,)
                            currents = added
                            acc = empty
                for e in tl.static_range(len(EACH)):
                    currents = _add_each(
                        currents, each_spikes[e], each_coefficients[e], rows, each_sizes[e], turn,
                        image, oy, ox, inside, k, EACH[e], OFFSET, STEPS, TURN,
                    )  # fmt: skip
                for i in tl.static_range(STEPS):
                    row = tl.minimum(done + first + i, bias_rows - 1)
                    if BIAS_PER_NEURON:
                        row = row.to(tl.int64) * (height * width) if WIDE else row * height * width
                        at = ((row + place) * channels)[:, None] + k[None, :]
                        bias = tl.load(bias_ptr + at, mask=owned, other=0)
                    else:
                        bias = tl.load(bias_ptr + row * rows + k)[None, :]
                    m = v + currents[i] + bias
                    up = m >= theta
                    after = tl.where(up, m - theta, m)
                    s = up.to(tl.int32)
                    if SIGNED:
                        down = (m < 0) & (net > 0)
                        after = tl.where(down, m + theta, after)
                        s -= down.to(tl.int32)
                    if not WHOLE:
                        after = tl.where(first + i < T, after, v)
                        s = tl.where(first + i < T, s, 0)
                    v = after
                    net += s
                    spikes |= put(s, OUT_BITS, OFFSET + i)
        if spikes_ptr is not None:
            size = images * height * width * pixel
            for p in tl.static_range(TURN * OUT_BITS // 8):
                q = turn * (TURN * OUT_BITS // 8) + p
                at = n[:, None] * pixel + k[None, :] + q * (size.to(tl.int64) if WIDE else size)
                there = inside[:, None] & (k < pixel)[None, :] & (q * 8 < T * OUT_BITS)
                tl.store(spikes_ptr + at, (spikes >> (8 * p)).to(tl.int8), mask=there)
        turn += 1

    if count_ptr is not None:
        before = tl.zeros([PIXELS, CHANNELS], tl.int32)
        if net_ptr is not None:
            before = tl.load(net_ptr + own, mask=owned, other=0)
        tl.store(count_ptr + own, net - before, mask=owned)
    if v_after_ptr is not None:
        tl.store(v_after_ptr + own, v, mask=owned)
    if net_after_ptr is not None:
        tl.store(net_after_ptr + own, net, mask=owned)
