"""The backends "cpp" and "cuda": the compiled extension behind one call."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch

from spikeconv.ops.call import BackwardCall, Call, in_numbers
from spikeconv.ops.layout import layout_of


@functools.cache
def load() -> str | None:
    """Load the extension; None, or why it cannot be loaded."""
    try:
        import_module("spikeconv._C")
    except ImportError as error:
        folder = Path(__file__).parents[2]
        if (folder / "setup.py").is_file():  # which come before an installed package on the path
            return (
                f"the compiled extension is not installed ({error}) beside the sources in "
                f"{folder}, which Python takes here; with a C++ compiler, `pip install "
                "--no-build-isolation -e .` builds it there, and from another folder Python takes "
                "an installed package"
            )
        return (
            f"the compiled extension is not installed ({error}); with a C++ compiler, "
            "`pip install --no-build-isolation .` builds it"
        )
    return None


def cpp_unavailable(device_type: str) -> str | None:
    """Why "cpp" cannot run on such a device, or None."""
    if device_type != "cpu":
        return f"it runs on CPU tensors only, not on {device_type}"
    return load()


def cuda_unavailable(device_type: str) -> str | None:
    """Why "cuda" cannot run on such a device, or None."""
    if device_type != "cuda":
        return f"it runs on CUDA tensors only, not on {device_type}"
    reason = load()
    if reason is not None:
        return reason
    if not hasattr(torch.ops.spikeconv, "_if_multistep_cuda"):
        return (
            "the extension was built without CUDA; build it with nvcc on the path and a CUDA "
            "build of torch (SPIKECONV_CUDA=1 says what is missing)"
        )
    return None if torch.cuda.is_available() else "torch sees no CUDA GPU"


def instruction_sets() -> list[str]:
    """Those of this processor that the CPU kernels are compiled for, best last; without the
    extension none."""
    return [] if load() is not None else list(torch.ops.spikeconv._cpu_isas())


def check_instruction_set() -> None:
    """Raise ValueError where SPIKECONV_ISA asks for what the extension or the processor lacks."""
    asked, sets = os.environ.get("SPIKECONV_ISA"), instruction_sets()
    if asked and sets and asked not in sets:
        raise ValueError(
            f"SPIKECONV_ISA must be one of {', '.join(sets)} on this processor, got {asked!r}"
        )


def _run(op: Callable[..., None], call: Call) -> None:
    at = layout_of(call)
    op(
        call.x,
        call.v_threshold,
        call.v_init,
        call.bias,
        call.count_init,
        call.emitted,
        call.v,
        call.T,
        at.sizes,
        at.x_stride_t,
        at.x_strides,
        at.threshold_strides,
        at.v_init_strides,
        at.bias_stride_t,
        at.bias_strides,
        at.count_strides,
        call.hard,
        call.v_reset,
        call.signed,
        call.tie_fires,
        call.emit,
        call.return_v or "none",
    )


def run_cpp(call: Call) -> None:
    """Fill the outputs of a call on the CPU."""
    _run(torch.ops.spikeconv._if_multistep_cpp, call)


def run_cuda(call: Call) -> None:
    """Fill the outputs of a call on a CUDA device."""
    _run(torch.ops.spikeconv._if_multistep_cuda, call)


def run_backward_with(op: Callable[..., None], call: BackwardCall) -> None:
    """Fill the gradients of a call by an operator with the signature of the native ones."""
    at = layout_of(call)
    name, numbers, slope = in_numbers(call.surrogate)
    op(
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
        call.T,
        at.sizes,
        at.x_stride_t,
        at.x_strides,
        at.threshold_strides,
        at.v_init_strides,
        at.bias_stride_t,
        at.bias_strides,
        call.hard,
        call.v_reset,
        call.tie_fires,
        call.psp,
        call.trace,
        call.detach_reset,
        name,
        *numbers,
    )


def run_cpp_backward(call: BackwardCall) -> None:
    """Fill the gradients of a call on the CPU."""
    run_backward_with(torch.ops.spikeconv._if_backward_cpp, call)


def run_cuda_backward(call: BackwardCall) -> None:
    """Fill the gradients of a call on a CUDA device."""
    run_backward_with(torch.ops.spikeconv._if_backward_cuda, call)
