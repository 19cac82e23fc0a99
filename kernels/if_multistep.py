"""Integrate-and-fire over T time-steps in Triton: the kernel, top to bottom, then its launcher.

A program owns BLOCK neurons and walks through time with their membranes in registers: the input is
read once, what was asked for is written once, and nothing else goes through memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from math import prod
from struct import pack, unpack
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .address import load_parameter, offsets
from .casts import round_to, to_float32
from .launch import launch_shape, varying_dims

if not hasattr(tl, "tuple"):
    raise ImportError(
        f"spikeconv.kernels needs triton 3.3 or newer, got {triton.__version__}; torch 2.7 is the "
        "first that brings one"
    )

# Neuron dimensions an operand may have after merging; every one costs a division per neuron.
MAX_RANK = 8

# Steps whose words and counts float32 holds exactly, by what is emitted.
EXACT_STEPS = {"words": 24, "count": 2**24}

# Up to here a neuron index fits unsigned 32 bits, also past N in the last program.
NARROW_LIMIT = 2**31


@triton.jit
def step(
    x: tl.tensor,  # [BLOCK], input of step t
    t: tl.tensor,
    v: tl.tensor,  # [BLOCK] float32
    tally: tl.tensor,  # [BLOCK]: net count so far, or the spike word; int32, or float32 if exact
    theta: tl.tensor,
    bias: tl.tensor,
    v_reset: tl.tensor,
    plus: tl.tensor,  # what a spike of either sign is written as
    minus: tl.tensor,
    emitted_ptr: tl.tensor,
    v_ptr: tl.tensor,
    n: tl.tensor,
    mask: tl.tensor,
    N: tl.tensor,
    HARD: tl.constexpr,
    SIGNED: tl.constexpr,
    TIE_FIRES: tl.constexpr,
    EMIT: tl.constexpr,
    RETURN_V: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    m = v + to_float32(x)
    if bias is not None:
        m = m + bias
    # Selections, not theta * s: no product, so nothing an FMA could swallow, and NaN never fires.
    up = m >= theta if TIE_FIRES else m > theta
    v = tl.where(up, v_reset if HARD else m - theta, m)
    if SIGNED:
        down = (m < 0) & (tally > 0)
        v = tl.where(down, v_reset if HARD else m + theta, v)

    here = tl.cast(t, tl.int64) * N + n
    if EMIT != "words" and EMIT != "count":
        spikes = tl.where(up, plus, tl.zeros_like(plus))
        if SIGNED:
            spikes = tl.where(down, minus, spikes)
        tl.store(emitted_ptr + here, spikes, mask=mask)
    if RETURN_V == "all":
        tl.store(v_ptr + here, v, mask=mask)

    if EMIT == "words":
        bit = tl.full((), 1, tl.int32) << t
        if tally.dtype == tl.float32:
            tally = tl.where(up, tally + bit.to(tl.float32), tally)
        else:
            tally |= tl.where(up, bit, 0)
    elif SIGNED:
        tally += up.to(tl.int32) - down.to(tl.int32)
    elif EMIT == "count":
        tally = tl.where(up, tally + 1, tally)
    return v, tally


@triton.jit(do_not_specialize=["T", "v_reset_bits"])
def if_multistep_fwd_kernel(
    x_ptr: tl.tensor,  # time-step t of neuron n at t * x_stride_t + offset of n; any float
    theta_ptr: tl.tensor,  # float32
    v_init_ptr: tl.tensor,  # float32
    bias_ptr: tl.tensor,  # float32, or None; time-steps lie bias_stride_t apart
    count_init_ptr: tl.tensor,  # int32, or None
    emitted_ptr: tl.tensor,  # [T, N]; words and count [N] int32
    v_ptr: tl.tensor,  # [N], [T, N] or None, float32
    T: tl.tensor,
    N: tl.tensor,
    v_reset_bits: tl.tensor,  # of a float32, because the interpreter turns a float's -0 into 0
    x_stride_t: tl.tensor,
    sizes: tl.tuple,  # neuron dimensions, as long as any operand needs them
    x_strides: tl.tuple,
    theta_strides: tl.tuple,
    v_init_strides: tl.tuple,
    bias_stride_t: tl.tensor,
    bias_strides: tl.tuple,
    count_init_strides: tl.tuple,
    RANK: tl.constexpr,
    X_DIMS: tl.constexpr,
    THETA_DIMS: tl.constexpr,
    V_INIT_DIMS: tl.constexpr,
    BIAS_DIMS: tl.constexpr,
    COUNT_INIT_DIMS: tl.constexpr,
    STATIC: tl.constexpr,
    BIAS_IN_TIME: tl.constexpr,
    HARD: tl.constexpr,
    SIGNED: tl.constexpr,
    TIE_FIRES: tl.constexpr,
    EMIT: tl.constexpr,
    RETURN_V: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
    TALLY: tl.constexpr,
) -> None:
    N = tl.cast(N, tl.int64)
    x_stride_t = tl.cast(x_stride_t, tl.int64)
    bias_stride_t = tl.cast(bias_stride_t, tl.int64)
    v_reset = tl.cast(v_reset_bits, tl.int32).to(tl.float32, bitcast=True)
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = n < N

    theta = load_parameter(theta_ptr, n, mask, sizes, theta_strides, RANK, THETA_DIMS, WIDE)
    v = load_parameter(v_init_ptr, n, mask, sizes, v_init_strides, RANK, V_INIT_DIMS, WIDE)
    v = tl.broadcast_to(v, [BLOCK])
    bias = None
    if bias_ptr is not None and not BIAS_IN_TIME:
        bias = load_parameter(bias_ptr, n, mask, sizes, bias_strides, RANK, BIAS_DIMS, WIDE)
    start = tl.zeros([BLOCK], TALLY)
    if count_init_ptr is not None:
        start += load_parameter(
            count_init_ptr, n, mask, sizes, count_init_strides, RANK, COUNT_INIT_DIMS, WIDE
        )
    tally = start

    amplitude = theta if EMIT == "psp" else tl.full((), 1, tl.float32)
    plus = round_to(amplitude, emitted_ptr.dtype.element_ty)
    minus = round_to(-amplitude, emitted_ptr.dtype.element_ty) if SIGNED else plus

    # The inputs of a few steps are fetched before the first of those steps stores anything: as far
    # as the compiler knows outputs may overlap the input, and it moves no load across a store.
    x_ptrs = x_ptr + offsets(n, sizes, x_strides, RANK, X_DIMS, WIDE)
    if STATIC:
        x = tl.load(x_ptrs, mask=mask)
    first = 0
    while first < T:  # not range(): Triton's interpreter cannot make one of T under numpy 2.4
        xs: tl.tuple = ()
        biases: tl.tuple = ()
        for i in tl.static_range(STEPS):
            if STATIC:
                xs += (x,)
            else:
                row = tl.cast(first + i, tl.int64) * x_stride_t
                xs += (tl.load(x_ptrs + row, mask=mask & (first + i < T)),)
            if BIAS_IN_TIME:
                row = tl.cast(tl.minimum(first + i, T - 1), tl.int64) * bias_stride_t
                at = bias_ptr + row
                biases += (load_parameter(at, n, mask, sizes, bias_strides, RANK, BIAS_DIMS, WIDE),)
        for i in tl.static_range(STEPS):
            t = first + i
            if t < T:
                b = biases[i] if BIAS_IN_TIME else bias
                v, tally = step(
                    xs[i], t, v, tally, theta, b, v_reset, plus, minus, emitted_ptr, v_ptr,
                    n, mask, N, HARD, SIGNED, TIE_FIRES, EMIT, RETURN_V,
                )  # fmt: skip
        first += STEPS

    if EMIT == "words" or EMIT == "count":
        tl.store(emitted_ptr + n, (tally - start).to(tl.int32), mask=mask)
    if RETURN_V == "last":
        tl.store(v_ptr + n, v, mask=mask)


def check_rank(sizes: Sequence[int]) -> None:
    """Raise ValueError for more dimensions than a kernel walks."""
    if len(sizes) > MAX_RANK:
        raise ValueError(
            f"if_multistep: backend 'triton' takes at most {MAX_RANK} neuron dimensions after "
            f"merging neighbours, got sizes {list(sizes)}; make x and the parameters contiguous"
        )


def if_multistep_fwd(
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None,
    count_init: Tensor | None,
    emitted: Tensor,
    v: Tensor | None,
    *,
    T: int,
    sizes: Sequence[int],
    x_stride_t: int,
    x_strides: Sequence[int],
    threshold_strides: Sequence[int],
    v_init_strides: Sequence[int],
    bias_stride_t: int,
    bias_strides: Sequence[int],
    count_strides: Sequence[int],
    hard: bool,
    v_reset: float,
    signed: bool,
    tie_fires: bool,
    emit: str,
    return_v: str,
) -> None:
    """Fill `emitted` and `v` of a checked call; neuron n is the row-major index n over `sizes`."""
    check_rank(sizes)
    N = prod(sizes)
    if N == 0:
        return
    if not signed:
        count_init = None  # only a negative spike asks for it

    operands = {
        "x": (x, x_strides),
        "theta": (v_threshold, threshold_strides),
        "v_init": (v_init, v_init_strides),
        "bias": (bias, bias_strides),
        "count_init": (count_init, count_strides),
    }
    addressing: dict[str, Any] = {"sizes": ()}
    for name, (operand, strides) in operands.items():
        dims = 0 if operand is None else varying_dims(sizes, strides)
        addressing[f"{name}_ptr"] = operand
        addressing[f"{name}_strides"] = tuple(strides) if dims > 0 else ()
        addressing[f"{name.upper()}_DIMS"] = dims
        if dims > 0:
            addressing["sizes"] = tuple(sizes)

    every_step = [x]
    if emit in ("spikes", "psp", "uint8"):
        every_step.append(emitted)
    if v is not None and return_v == "all":
        every_step.append(v)
    shape = launch_shape(max(tensor.element_size() for tensor in every_step))

    with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
        if_multistep_fwd_kernel[(triton.cdiv(N, shape.block),)](
            **addressing,
            emitted_ptr=emitted,
            v_ptr=v,
            T=T,
            N=N,
            v_reset_bits=unpack("i", pack("f", v_reset))[0],
            x_stride_t=x_stride_t,
            bias_stride_t=bias_stride_t,
            RANK=len(addressing["sizes"]),
            STATIC=x_stride_t == 0,
            BIAS_IN_TIME=bias_stride_t != 0,
            HARD=hard,
            SIGNED=signed,
            TIE_FIRES=tie_fires,
            EMIT=emit,
            RETURN_V=return_v,
            WIDE=N > NARROW_LIMIT,
            BLOCK=shape.block,
            STEPS=shape.steps,
            TALLY=_tally(T, emit, signed),
            num_warps=shape.num_warps,
            enable_fp_fusion=False,  # (v + x) + b is rounded twice
        )


def _tally(T: int, emit: str, signed: bool) -> tl.dtype:
    """What words and counts are added up in: a GPU adds to a float where a neuron fires in one
    instruction, to an integer in two or three."""
    return tl.float32 if not signed and EXACT_STEPS.get(emit, 0) >= T else tl.int32
