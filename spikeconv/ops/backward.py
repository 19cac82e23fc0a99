"""The torch operator `spikeconv::if_multistep_backward`: the gradients of `if_multistep`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spikeconv.ops.backends import check_name, resolve
from spikeconv.ops.call import BackwardCall, empty, has_time, is_laid_out, state_dtype
from spikeconv.ops.check import check_if_multistep, check_like_output, check_surrogate
from spikeconv.ops.fold import sum_to
from spikeconv.ops.place import beside, bias_beside
from spikeconv.surrogate import built_in

_library = torch.library.Library("spikeconv", "FRAGMENT")
_library.define(
    "if_multistep_backward(Tensor? grad_emitted, Tensor? grad_v, Tensor x, Tensor v_threshold, "
    "Tensor v_init, Tensor? bias, Tensor? slope, *, SymInt? T, str reset, float v_reset, "
    "str fires, str emit, str? return_v, str surrogate, float surrogate_parameter, "
    "bool detach_reset, bool[] wanted, str? backend) "
    "-> (Tensor grad_x, Tensor grad_threshold, Tensor grad_v_init, Tensor grad_bias)",
    tags=(torch.Tag.pt2_compliant_tag,),
)

Gradients = tuple[Tensor, Tensor, Tensor, Tensor]


def _like_outputs(given: Tensor | None, current: Tensor) -> Tensor | None:
    """A gradient as kernels read it, dense in the layout of the outputs: copied where it is not."""
    if given is None or is_laid_out(given, current):
        return given
    T = given.shape[0] if given.dim() > current.dim() else None
    return empty(current, T, given.dtype).copy_(given)


def _of_parameter(parameter: Tensor | None, values: Tensor | None, x: Tensor) -> Tensor:
    """A parameter's gradient out of the gradients of all that read it."""
    if parameter is None or values is None:
        return x.new_empty(0)
    summed = sum_to(values, tuple(parameter.shape)).to(parameter.device, parameter.dtype)
    # In memory of its own, whatever else the values are the gradient of.
    return summed.clone(memory_format=torch.contiguous_format)


def _checked(
    grad_emitted: Tensor | None,
    grad_v: Tensor | None,
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None,
    slope: Tensor | None,
    T: int | None,
    reset: str,
    v_reset: float,
    fires: str,
    emit: str,
    return_v: str | None,
    surrogate: str,
    wanted: Sequence[bool],
) -> int:
    """The number of steps, after the checks that the router and the fake kernel share."""
    steps = check_if_multistep(
        x, v_threshold, v_init, bias, None, T, reset, v_reset, False, fires, emit, return_v
    )
    shape = x.shape if T is not None else x.shape[1:]
    check_surrogate(x, (steps, *shape), surrogate, slope, signed=False)
    if grad_emitted is not None:
        check_like_output("grad_emitted", grad_emitted, x, (steps, *shape), x.dtype)
    if grad_v is not None and return_v is not None:
        v_shape = (steps, *shape) if return_v == "all" else shape
        check_like_output("grad_v", grad_v, x, v_shape, state_dtype(x))
    if len(wanted) != 4:
        raise ValueError(f"if_multistep: wanted must have 4 entries, got {list(wanted)}")
    return steps


def _route(
    grad_emitted: Tensor | None,
    grad_v: Tensor | None,
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None,
    slope: Tensor | None,
    *,
    T: int | None,
    reset: str,
    v_reset: float,
    fires: str,
    emit: str,
    return_v: str | None,
    surrogate: str,
    surrogate_parameter: float,
    detach_reset: bool,
    wanted: Sequence[bool],
    backend: str | None,
) -> Gradients:
    steps = _checked(
        grad_emitted, grad_v, x, v_threshold, v_init, bias, slope,
        T, reset, v_reset, fires, emit, return_v, surrogate, wanted,
    )  # fmt: skip
    of_x, of_threshold, of_v_init, of_bias = wanted
    static, dtype = T is not None, state_dtype(x)
    current = x if static else x.select(0, 0)
    timed = of_bias and bias is not None and has_time(bias, current.shape)
    # The gradient at every step is x's own, where that has time and is not rounded to 16 bits.
    shared = timed and not static and x.dtype == dtype

    def neurons(when: bool) -> Tensor | None:
        return empty(current, None, dtype) if when else None

    grad_x = empty(current, steps, x.dtype) if (of_x and not static) or shared else None
    grad_m = empty(current, steps, dtype) if timed and not shared else None
    grad_sum = neurons((of_x and static) or (of_bias and not timed))
    grad_threshold, grad_v_init = neurons(of_threshold), neurons(of_v_init)
    given = _like_outputs(slope, current)
    of_v = None if return_v is None else grad_v  # compiled code has one of the empty v, too
    if current.numel() > 0:
        resolve(backend, x, current.dim()).run_backward(
            BackwardCall(
                x=x,
                v_threshold=beside(x, v_threshold, dtype),
                v_init=beside(x, v_init, dtype),
                bias=bias_beside(x, bias, static, steps),
                count_init=None,
                T=steps,
                static=static,
                hard=reset == "hard",
                v_reset=v_reset,
                tie_fires=fires == "ge",
                grad_emitted=_like_outputs(grad_emitted, current),
                grad_v=_like_outputs(of_v, current),
                psp=emit == "psp",
                trace=return_v == "all",
                detach_reset=detach_reset,
                surrogate=built_in(surrogate, surrogate_parameter) if given is None else given,
                grad_x=grad_x,
                grad_m=grad_m,
                grad_sum=grad_sum,
                grad_threshold=grad_threshold,
                grad_v_init=grad_v_init,
            )
        )
    of_input = grad_sum if static else grad_x
    steps_of_m = grad_x if shared else grad_m
    return (
        of_input.to(x.dtype) if of_x and of_input is not None else x.new_empty(0),
        _of_parameter(v_threshold, grad_threshold, x),
        _of_parameter(v_init, grad_v_init, x),
        _of_parameter(bias if of_bias else None, steps_of_m if timed else grad_sum, x),
    )


def _fake(
    grad_emitted: Tensor | None,
    grad_v: Tensor | None,
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None,
    slope: Tensor | None,
    *,
    T: int | None,
    reset: str,
    v_reset: float,
    fires: str,
    emit: str,
    return_v: str | None,
    surrogate: str,
    surrogate_parameter: float,
    detach_reset: bool,
    wanted: Sequence[bool],
    backend: str | None,
) -> Gradients:
    steps = _checked(
        grad_emitted, grad_v, x, v_threshold, v_init, bias, slope,
        T, reset, v_reset, fires, emit, return_v, surrogate, wanted,
    )  # fmt: skip
    check_name(backend)

    def like(parameter: Tensor | None, want: bool) -> Tensor:
        if parameter is None or not want:
            return x.new_empty(0)
        return torch.empty_like(parameter, memory_format=torch.contiguous_format)

    grad_x = x.new_empty(0)
    if wanted[0]:
        grad_x = empty(x, None, x.dtype) if T is not None else empty(x[0], steps, x.dtype)
    parameters = zip((v_threshold, v_init, bias), wanted[1:], strict=True)
    grad_threshold, grad_v_init, grad_bias = (like(*parameter) for parameter in parameters)
    return grad_x, grad_threshold, grad_v_init, grad_bias


def _no_second_gradient(ctx: Any, *grads: Tensor | None) -> None:
    raise RuntimeError(
        "if_multistep has no second gradient: the surrogate stands for a first derivative only. "
        "Take the first one without create_graph=True, or detach it"
    )


_NAME = "spikeconv::if_multistep_backward"
torch.library.impl(_NAME, "CompositeExplicitAutograd", _route, lib=_library)
torch.library.register_fake(_NAME, _fake, lib=_library)
torch.library.register_autograd(_NAME, _no_second_gradient, lib=_library)

BACKWARD = torch.ops.spikeconv.if_multistep_backward
