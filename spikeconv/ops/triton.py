"""The backend "triton": the Triton kernel behind one call."""

from __future__ import annotations

import functools
import os
from importlib import import_module

import torch

from spikeconv.ops.call import BackwardCall, Call, in_numbers
from spikeconv.ops.layout import layout_of


@functools.cache
def _load() -> str | None:
    try:
        import_module("spikeconv.kernels.if_multistep")
    except ModuleNotFoundError as error:
        return f"triton cannot be imported ({error}); `pip install triton` brings it"
    except ImportError as error:
        return str(error)
    return None


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def unavailable(device_type: str) -> str | None:
    """Why "triton" cannot run on such a device, or None; its interpreter runs on the CPU."""
    if device_type == "cpu":
        if not interpreted():
            return "it runs on CUDA tensors (on the CPU only with TRITON_INTERPRET=1, for tests)"
        return _load()
    if device_type != "cuda":
        return f"it runs on CUDA tensors only, not on {device_type}"
    if not torch.cuda.is_available():
        return "torch sees no CUDA GPU"
    return _load()


def run(call: Call) -> None:
    """Fill the outputs of a call."""
    from spikeconv.kernels.if_multistep import if_multistep_fwd

    at = layout_of(call)
    if_multistep_fwd(
        call.x,
        call.v_threshold,
        call.v_init,
        call.bias,
        call.count_init,
        call.emitted,
        call.v,
        T=call.T,
        sizes=at.sizes,
        x_stride_t=at.x_stride_t,
        x_strides=at.x_strides,
        threshold_strides=at.threshold_strides,
        v_init_strides=at.v_init_strides,
        bias_stride_t=at.bias_stride_t,
        bias_strides=at.bias_strides,
        count_strides=at.count_strides,
        hard=call.hard,
        v_reset=call.v_reset,
        signed=call.signed,
        tie_fires=call.tie_fires,
        emit=call.emit,
        return_v=call.return_v or "none",
    )


def run_backward(call: BackwardCall) -> None:
    """Fill the gradients of a call."""
    from spikeconv.kernels.if_multistep_backward import if_multistep_bwd

    at = layout_of(call)
    name, numbers, slope = in_numbers(call.surrogate)
    if_multistep_bwd(
        call.x,
        call.v_threshold,
        call.v_init,
        call.bias,
        call.grad_emitted,
        call.grad_v,
        slope,
        call.grad_x,
        call.grad_m,
        call.grad_sum,
        call.grad_threshold,
        call.grad_v_init,
        T=call.T,
        sizes=at.sizes,
        x_stride_t=at.x_stride_t,
        x_strides=at.x_strides,
        threshold_strides=at.threshold_strides,
        v_init_strides=at.v_init_strides,
        bias_stride_t=at.bias_stride_t,
        bias_strides=at.bias_strides,
        hard=call.hard,
        v_reset=call.v_reset,
        tie_fires=call.tie_fires,
        psp=call.psp,
        trace=call.trace,
        detach_reset=call.detach_reset,
        surrogate=name,
        numbers=numbers,
    )
