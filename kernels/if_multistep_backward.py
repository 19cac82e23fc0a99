"""The backward pass of integrate-and-fire in Triton: the kernel, top to bottom, then its launcher.

A program owns BLOCK neurons and holds the potentials of STEPS time-steps at once. It runs them
forward once, noting the potential before every so many steps, then goes back over those segments:
each is run again from what was noted, and its gradients follow from the last step to the first.
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
from .if_multistep import NARROW_LIMIT, check_rank
from .launch import backward_shape, varying_dims
from .surrogate import slope_at


@triton.jit
def _charge(
    x: tl.tensor,  # [BLOCK], input of a step
    bias: tl.tensor,  # or None
    v: tl.tensor,  # [BLOCK] float32
) -> tl.tensor:
    m = v + to_float32(x)
    if bias is not None:
        m = m + bias
    return m


@triton.jit
def _fires(m: tl.tensor, theta: tl.tensor, TIE_FIRES: tl.constexpr) -> tl.tensor:
    return m >= theta if TIE_FIRES else m > theta


@triton.jit(do_not_specialize=["T", "v_reset_bits", "a", "b"])
def if_multistep_bwd_kernel(
    x_ptr: tl.tensor,  # time-step t of neuron n at t * x_stride_t + offset of n; any float
    theta_ptr: tl.tensor,  # float32
    v_init_ptr: tl.tensor,  # float32
    bias_ptr: tl.tensor,  # float32, or None; time-steps lie bias_stride_t apart
    grad_emitted_ptr: tl.tensor,  # [T, N], as x, or None: 0
    grad_v_ptr: tl.tensor,  # [N], [T, N] or None: 0; float32, like all below
    slope_ptr: tl.tensor,  # [T, N], or None where SURROGATE says how it is made
    grad_x_ptr: tl.tensor,  # [T, N], as x, or None: not wanted
    grad_m_ptr: tl.tensor,  # [T, N], or None
    grad_sum_ptr: tl.tensor,  # [N], or None
    grad_theta_ptr: tl.tensor,  # [N], or None
    grad_v_init_ptr: tl.tensor,  # [N], or None
    starts_ptr: tl.tensor,  # [segments - 1, N]: the potential before each segment but the first
    T: tl.tensor,
    N: tl.tensor,
    v_reset_bits: tl.tensor,  # of a float32, because the interpreter turns a float's -0 into 0
    a: tl.tensor,  # the numbers of the surrogate's formula
    b: tl.tensor,
    x_stride_t: tl.tensor,
    sizes: tl.tuple,  # neuron dimensions, as long as any operand needs them
    x_strides: tl.tuple,
    theta_strides: tl.tuple,
    v_init_strides: tl.tuple,
    bias_stride_t: tl.tensor,
    bias_strides: tl.tuple,
    RANK: tl.constexpr,
    X_DIMS: tl.constexpr,
    THETA_DIMS: tl.constexpr,
    V_INIT_DIMS: tl.constexpr,
    BIAS_DIMS: tl.constexpr,
    BIAS_IN_TIME: tl.constexpr,
    HARD: tl.constexpr,
    TIE_FIRES: tl.constexpr,
    PSP: tl.constexpr,
    TRACE: tl.constexpr,
    DETACH_RESET: tl.constexpr,
    SURROGATE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
) -> None:
    N = tl.cast(N, tl.int64)
    x_stride_t = tl.cast(x_stride_t, tl.int64)
    bias_stride_t = tl.cast(bias_stride_t, tl.int64)
    v_reset = tl.cast(v_reset_bits, tl.int32).to(tl.float32, bitcast=True)
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = n < N

    theta = load_parameter(theta_ptr, n, mask, sizes, theta_strides, RANK, THETA_DIMS, WIDE)
    v_init = load_parameter(v_init_ptr, n, mask, sizes, v_init_strides, RANK, V_INIT_DIMS, WIDE)
    v_init = tl.broadcast_to(v_init, [BLOCK])
    bias = None
    if bias_ptr is not None and not BIAS_IN_TIME:
        bias = load_parameter(bias_ptr, n, mask, sizes, bias_strides, RANK, BIAS_DIMS, WIDE)
    x_ptrs = x_ptr + offsets(n, sizes, x_strides, RANK, X_DIMS, WIDE)

    # Forward over all segments but the last, where the way back begins.
    v = v_init
    first = 0
    while first + STEPS < T:
        for i in tl.static_range(STEPS):
            x = tl.load(x_ptrs + tl.cast(first + i, tl.int64) * x_stride_t, mask=mask)
            bias_t = bias
            if BIAS_IN_TIME:
                at = bias_ptr + tl.cast(first + i, tl.int64) * bias_stride_t
                bias_t = load_parameter(at, n, mask, sizes, bias_strides, RANK, BIAS_DIMS, WIDE)
            m = _charge(x, bias_t, v)
            v = tl.where(_fires(m, theta, TIE_FIRES), v_reset if HARD else m - theta, m)
        tl.store(starts_ptr + tl.cast(first // STEPS, tl.int64) * N + n, v, mask=mask)
        first += STEPS
    tl.debug_barrier()  # what one thread noted another may read

    carried = tl.zeros([BLOCK], tl.float32)
    grad_sum = carried
    grad_theta = carried
    if grad_v_ptr is not None and not TRACE:
        carried += tl.load(grad_v_ptr + n, mask=mask)
    while first >= 0:
        potentials: tl.tuple = ()
        emitted: tl.tuple = ()
        of_v: tl.tuple = ()
        slopes: tl.tuple = ()
        for i in tl.static_range(STEPS):
            t = tl.cast(first + i, tl.int64)
            inside = mask & (t < T)
            x = tl.load(x_ptrs + t * x_stride_t, mask=inside)
            bias_t = bias
            if BIAS_IN_TIME:
                at = bias_ptr + tl.minimum(t, T - 1) * bias_stride_t
                bias_t = load_parameter(at, n, mask, sizes, bias_strides, RANK, BIAS_DIMS, WIDE)
            m = _charge(x, bias_t, v)
            potentials += (m,)
            v = tl.where(_fires(m, theta, TIE_FIRES), v_reset if HARD else m - theta, m)
            if grad_emitted_ptr is not None:
                emitted += (tl.load(grad_emitted_ptr + t * N + n, mask=inside),)
            if grad_v_ptr is not None and TRACE:
                of_v += (tl.load(grad_v_ptr + t * N + n, mask=inside),)
            if slope_ptr is not None:
                slopes += (tl.load(slope_ptr + t * N + n, mask=inside),)
        for i in tl.static_range(STEPS - 1, -1, -1):
            t = first + i
            if t < T:
                m = potentials[i]
                fired = _fires(m, theta, TIE_FIRES)
                if grad_v_ptr is not None and TRACE:
                    carried = carried + of_v[i]
                grad_emitted = tl.zeros_like(m)
                if grad_emitted_ptr is not None:
                    grad_emitted = to_float32(emitted[i])
                grad_s = theta * grad_emitted if PSP else grad_emitted
                if not DETACH_RESET:
                    grad_s = grad_s + ((v_reset - m) if HARD else -theta) * carried
                h = slopes[i] if slope_ptr is not None else slope_at(m - theta, a, b, SURROGATE)
                through_spike = grad_s * h
                grad_theta = grad_theta - through_spike
                if not HARD:
                    grad_theta = grad_theta - tl.where(fired, carried, 0.0)
                if PSP:
                    grad_theta = grad_theta + tl.where(fired, grad_emitted, 0.0)
                kept = tl.where(fired, 0.0, carried) if HARD else carried
                carried = kept + through_spike
                grad_sum = grad_sum + carried
                here = tl.cast(t, tl.int64) * N + n
                if grad_x_ptr is not None:
                    of_x = round_to(carried, grad_x_ptr.dtype.element_ty)
                    tl.store(grad_x_ptr + here, of_x, mask=mask)
                if grad_m_ptr is not None:
                    tl.store(grad_m_ptr + here, carried, mask=mask)
        first -= STEPS
        start = starts_ptr + tl.cast(first // STEPS - 1, tl.int64) * N + n
        v = tl.where(first > 0, tl.load(start, mask=mask & (first > 0)), v_init)

    if grad_sum_ptr is not None:
        tl.store(grad_sum_ptr + n, grad_sum, mask=mask)
    if grad_theta_ptr is not None:
        tl.store(grad_theta_ptr + n, grad_theta, mask=mask)
    if grad_v_init_ptr is not None:
        tl.store(grad_v_init_ptr + n, carried, mask=mask)


def if_multistep_bwd(
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None,
    grad_emitted: Tensor | None,
    grad_v: Tensor | None,
    slope: Tensor | None,
    grad_x: Tensor | None,
    grad_m: Tensor | None,
    grad_sum: Tensor | None,
    grad_threshold: Tensor | None,
    grad_v_init: Tensor | None,
    *,
    T: int,
    sizes: Sequence[int],
    x_stride_t: int,
    x_strides: Sequence[int],
    threshold_strides: Sequence[int],
    v_init_strides: Sequence[int],
    bias_stride_t: int,
    bias_strides: Sequence[int],
    hard: bool,
    v_reset: float,
    tie_fires: bool,
    psp: bool,
    trace: bool,
    detach_reset: bool,
    surrogate: str,
    numbers: tuple[float, float],
) -> None:
    """Fill the gradients of a checked call; neuron n is the row-major index n over `sizes`."""
    check_rank(sizes)
    N = prod(sizes)
    if N == 0:
        return
    operands = {
        "x": (x, x_strides),
        "theta": (v_threshold, threshold_strides),
        "v_init": (v_init, v_init_strides),
        "bias": (bias, bias_strides),
    }
    addressing: dict[str, Any] = {"sizes": ()}
    for name, (operand, strides) in operands.items():
        dims = 0 if operand is None else varying_dims(sizes, strides)
        addressing[f"{name}_ptr"] = operand
        addressing[f"{name}_strides"] = tuple(strides) if dims > 0 else ()
        addressing[f"{name.upper()}_DIMS"] = dims
        if dims > 0:
            addressing["sizes"] = tuple(sizes)

    shape = backward_shape()
    segments = triton.cdiv(T, shape.steps)
    starts = x.new_empty((segments - 1, N), dtype=torch.float32)
    with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
        if_multistep_bwd_kernel[(triton.cdiv(N, shape.block),)](
            **addressing,
            grad_emitted_ptr=grad_emitted,
            grad_v_ptr=grad_v,
            slope_ptr=slope,
            grad_x_ptr=grad_x,
            grad_m_ptr=grad_m,
            grad_sum_ptr=grad_sum,
            grad_theta_ptr=grad_threshold,
            grad_v_init_ptr=grad_v_init,
            starts_ptr=starts,
            T=T,
            N=N,
            v_reset_bits=unpack("i", pack("f", v_reset))[0],
            a=numbers[0],
            b=numbers[1],
            x_stride_t=x_stride_t,
            bias_stride_t=bias_stride_t,
            RANK=len(addressing["sizes"]),
            BIAS_IN_TIME=bias_stride_t != 0,
            HARD=hard,
            TIE_FIRES=tie_fires,
            PSP=psp,
            TRACE=trace,
            DETACH_RESET=detach_reset,
            SURROGATE=surrogate,
            WIDE=N > NARROW_LIMIT,
            BLOCK=shape.block,
            STEPS=shape.steps,
            num_warps=shape.num_warps,
            enable_fp_fusion=False,  # every product and every sum is rounded by itself
        )
