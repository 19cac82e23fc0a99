"""Convolutions and integrate-and-fire over all time-steps in one kernel, in integers.

A program owns a tile of PIXELS output pixels by CHANNELS output channels. For STEPS time-steps at a
time it sums weight * spike over the taps and input channels, one accumulator a step, so that the
rows of a matrix product are time-steps x pixels and a chunk of weights is read once for all of
them; then the neurons take those steps, one after the other. Currents and membranes stay in
registers; spikes come in as fields of bytes (`fields`) and leave as such.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .conv_sums import accumulate, add_each, add_sums
from .fields import TURN_STEPS


@triton.jit
def _fire(
    m: tl.tensor,  # int32 [PIXELS, CHANNELS]: membranes with what entered
    theta: tl.tensor,
    net: tl.tensor,
    runs: tl.tensor,  # whether this is a step of the run
    BIT: tl.constexpr,  # of the step in the spikes
    SIGNED: tl.constexpr,
    COUNTED: tl.constexpr,
    WHOLE: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    # Selections and not products: an instruction each, and no number 0 or 1 in between.
    up = m >= theta
    if not WHOLE:
        up &= runs
    v = m - tl.where(up, theta, 0)
    field = tl.where(up, 1 << BIT, 0)
    if COUNTED:
        net += up.to(tl.int32)
    if SIGNED:
        # No neuron does both: thresholds are above 0. -1 is two bits, which can be a word's last.
        DOWN: tl.constexpr = (3 << BIT) - ((1 << 32) if BIT == 30 else 0)
        down = (m < 0) & (net > 0)
        if not WHOLE:
            down &= runs
        v += tl.where(down, theta, 0)
        field = tl.where(down, DOWN, field)
        net -= down.to(tl.int32)
    return v, net, field


@triton.jit(do_not_specialize=["T", "done", "bias_rows", "images", "height", "width"])
def conv_if_kernel(
    dense_spikes: tl.tuple,
    dense_weights: tl.tuple,
    dense_sums: tl.tuple,  # int32 [K rounded up]: of the weights of the passes up to a last one
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
    FACTORS: tl.constexpr,  # dtype of weights and spikes in a product: int8 or bfloat16
    SUMS: tl.constexpr,  # and of their sums: int32, or float32
    WHOLE: tl.constexpr,  # T is a multiple of STEPS
    WIDE: tl.constexpr,  # offsets do not fit 32 bits
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STEPS: tl.constexpr,
    JOINED: tl.constexpr,  # steps of one matrix product
    CHUNK: tl.constexpr,
    STAGES: tl.constexpr,
) -> None:
    TURN: tl.constexpr = STEPS if STEPS > TURN_STEPS else TURN_STEPS
    OUT_BITS: tl.constexpr = 2 if SIGNED else 1
    BYTE: tl.constexpr = 8 // OUT_BITS  # its steps
    COUNTED: tl.constexpr = SIGNED or count_ptr is not None
    turn = tl.full((), 0, tl.int64 if WIDE else tl.int32)
    n = (turn + tl.program_id(0)) * PIXELS + tl.arange(0, PIXELS)
    k_first = tl.program_id(1) * CHANNELS
    k = turn + k_first + tl.arange(0, CHANNELS)
    places = height * width
    inside = n < tl.cast(images, turn.dtype) * places
    image = n // places
    place = n - image * places
    oy = place // width
    ox = place - oy * width
    own = n[:, None] * channels + k[None, :]
    owned = inside[:, None] & (k < channels)[None, :]
    fired = n[:, None] * pixel + k[None, :]
    kept = inside[:, None] & (k < pixel)[None, :]
    plane = tl.cast(images, turn.dtype) * places * pixel

    if V_PER_NEURON:
        here = (image * v_image + place * channels)[:, None] + k[None, :]
        v = tl.load(v_ptr + here, mask=owned, other=0)
    else:
        v = tl.zeros([PIXELS, CHANNELS], tl.int32) + tl.load(v_ptr + k)[None, :]
    net = tl.zeros([PIXELS, CHANNELS], tl.int32)
    if net_ptr is not None:
        net = tl.load(net_ptr + own, mask=owned, other=0)

    while turn * TURN < T:  # not range(): Triton's interpreter cannot make one of T
        for part in tl.static_range(TURN // STEPS):
            first = turn * TURN + part * STEPS
            if first < T:
                currents: tl.tuple = ()
                for _ in tl.static_range(STEPS):
                    currents += (tl.zeros([PIXELS, CHANNELS], tl.int32),)
                if len(DENSE) > 0:
                    empty: tl.tuple = ()
                    for _ in tl.static_range(STEPS // JOINED):
                        empty += (tl.zeros([JOINED * PIXELS, CHANNELS], SUMS),)
                    acc = empty
                    for d in tl.static_range(len(DENSE)):
                        acc = accumulate(
                            acc, dense_spikes[d], dense_weights[d], dense_sizes[d], turn,
                            image, oy, ox, inside, k_first, k,
                            DENSE, d, part * STEPS, STEPS, JOINED, TURN, FACTORS, CHUNK, STAGES,
                        )  # fmt: skip
                        if DENSE[d].last:
                            weight_sums = tl.load(dense_sums[d] + k)[None, :]
                            currents = add_sums(
                                currents, acc, weight_sums,
                                DENSE, d, SHIFT, part * STEPS, STEPS, JOINED,
                            )  # fmt: skip
                            acc = empty
                for e in tl.static_range(len(EACH)):
                    currents = add_each(
                        currents, each_spikes[e], each_coefficients[e], rows, each_sizes[e], turn,
                        image, oy, ox, inside, k, EACH, e, part * STEPS, STEPS, TURN,
                        len(DENSE) > 0,
                    )  # fmt: skip
                theta = tl.load(theta_ptr + k)[None, :]
                byte = (turn * TURN + part * STEPS) // BYTE
                spikes = tl.zeros([PIXELS, CHANNELS], tl.int32)
                if spikes_ptr is not None and part * STEPS % BYTE > 0:
                    # The part before has written the byte with what it had. To keep it in registers
                    # meanwhile would cost as many as the membranes.
                    tl.debug_barrier()
                    spikes += tl.load(spikes_ptr + byte * plane + fired, mask=kept, other=0)
                for i in tl.static_range(STEPS):
                    row = tl.minimum(done + first + i, bias_rows - 1)
                    if BIAS_PER_NEURON:
                        row = tl.cast(row, turn.dtype) * places
                        at = ((row + place) * channels)[:, None] + k[None, :]
                        bias = tl.load(bias_ptr + at, mask=owned, other=0)
                    else:
                        bias = tl.load(bias_ptr + row * rows + k)[None, :]
                    after, net, field = _fire(
                        v + currents[i] + bias, theta, net, first + i < T,
                        OUT_BITS * (i if STEPS > BYTE else (part * STEPS + i) % BYTE),
                        SIGNED, COUNTED, WHOLE,
                    )  # fmt: skip
                    v = after if WHOLE else tl.where(first + i < T, after, v)
                    spikes |= field
                if spikes_ptr is not None:
                    for p in tl.static_range(STEPS // BYTE if STEPS > BYTE else 1):
                        there = kept & ((byte + p) * BYTE < T)
                        at = (byte + p) * plane + fired
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
