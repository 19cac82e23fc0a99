"""The public function of the neuron."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from spikeconv.ops.call import state_dtype
from spikeconv.ops.check import check_signed
from spikeconv.ops.schema import OPERATOR
from spikeconv.ops.slope import slope_of
from spikeconv.surrogate import BUILT_IN, BuiltIn, Surrogate

_INT64_MAX = torch.iinfo(torch.int64).max


def _number(argument: str, value: float, wanted: str, dtype: torch.dtype) -> float:
    """The value as a float, once it is known to be a number that dtype can hold."""
    if isinstance(value, bool) or not isinstance(value, Real | torch.SymFloat | torch.SymInt):
        raise TypeError(f"if_multistep: {argument} must be {wanted}, got {type(value).__name__}")
    limit = torch.finfo(dtype).max
    if not -limit <= value <= limit:  # math.isfinite stops torch.compile on a symbolic float
        raise ValueError(f"if_multistep: {argument} must be finite in {dtype}, got {value}")
    return float(value)


def _parameter(argument: str, value: float | Tensor, x: Tensor) -> Tensor:
    """A number becomes a 0-dim tensor on the CPU, where reading it waits for no device."""
    if isinstance(value, Tensor):
        return value
    dtype = state_dtype(x)
    number = _number(argument, value, "a number or a tensor", dtype)
    if torch.compiler.is_compiling():  # which would compile torch.full anew at every new number
        return torch.ones((), dtype=dtype, device="cpu") * number
    return torch.full((), number, dtype=dtype, device="cpu")


def wants_gradient(*operands: object) -> bool:
    """Whether autograd would go back through a call with these operands."""
    return torch.is_grad_enabled() and any(
        isinstance(operand, Tensor) and operand.requires_grad for operand in operands
    )


def check_no_tangent(function: str, operands: Iterable[object]) -> None:
    """Raise RuntimeError where forward-mode differentiation goes on, whose answer would be 0."""
    if forward_ad._current_level < 0 or torch.compiler.is_compiling():  # the first costs nothing
        return
    for operand in operands:
        if isinstance(operand, Tensor) and forward_ad.unpack_dual(operand).tangent is not None:
            raise RuntimeError(
                f"{function} has no derivatives in forward mode (torch.func.jvp, "
                "torch.autograd.forward_ad): take them in reverse mode, by backward() or "
                "torch.autograd.grad, with a surrogate"
            )


def _check_surrogate(surrogate: object) -> None:
    if surrogate is not None and not callable(surrogate):
        raise TypeError(
            "if_multistep: surrogate must be one of spikeconv.surrogate, a function from "
            f"m - v_threshold to a derivative, or None, got {type(surrogate).__name__}"
        )
    if isinstance(surrogate, torch.nn.Module):  # they return spikes, and would be taken at that
        raise TypeError(
            "if_multistep: surrogate must return a derivative, got a torch.nn.Module: another "
            "library's spike function goes into spikeconv.surrogate.FromSpikeFunction(...)"
        )


def if_multistep(
    x: Tensor,
    v_threshold: float | Tensor = 1.0,
    v_init: float | Tensor = 0.0,
    bias: float | Tensor | None = None,
    *,
    T: int | None = None,
    reset: str = "soft",
    v_reset: float = 0.0,
    signed: bool = False,
    fires: str = "ge",
    emit: str = "spikes",
    return_v: str | None = "last",
    surrogate: Surrogate | Callable[[Tensor], Tensor] | None = None,
    detach_reset: bool = False,
    backend: str | None = None,
    count_init: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Run a population of integrate-and-fire neurons over all T time-steps in one pass.

    For t = 1..T, from v = v_init, in float32 and in this order::

        m   = (v + x_t) + bias_t
        s_t = 1 if m >= v_threshold else 0            fires="ge": a tie fires
        s_t = 1 if m >  v_threshold else 0            fires="gt": it does not
        v   = m - v_threshold * s_t                   reset="soft": by subtraction
        v   = v_reset if s_t != 0 else m              reset="hard"

    With ``signed=True``, s_t = -1 where m < 0 and the net count of the spikes before is above 0,
    whatever ``fires`` says of ties with the threshold.
    Soft reset conserves: sum_t (x_t + bias_t) = v_threshold * sum_t s_t + v_T - v_init, and
    v_init = v_threshold / 2 makes the expected error of the rate zero (OPI; Bu et al., AAAI 2022).

    With a surrogate h these equations have gradients of x, v_threshold, v_init and bias: those of
    the chain rule with ds_t/dm = h(m - v_threshold) and ds_t/dv_threshold = -h(m - v_threshold).
    The backward pass runs the neurons once more, so nothing is kept for it but the operands
    themselves (and h at every step where no kernel knows it).

    Every backend gives the same bits, gradients too, on any number of threads; NaN is in the same
    places, with any sign and payload. A comparison with NaN is false: a neuron whose membrane is
    NaN never fires again and stays NaN. +inf fires at every step and, with soft reset, stays; -inf
    never fires.

    Args:
        x: input current ``[T, *]``, or ``[*]`` with ``T=`` given, the same at every step (never
            expanded in memory); any strides. float32, float16 or bfloat16; float64 on the
            reference, whose state is then float64.
        v_threshold: theta > 0, finite; a number or a tensor that broadcasts to ``[*]``
            (``[C, 1, 1]`` for one per channel), read in place.
        v_init: membrane potential before the first step, likewise.
        bias: current added at every step, likewise, or None. With one dimension more than ``[*]``
            it has time as dimension 0, of size T (or 1): bias_t = bias[t], read in place. For x
            ``[T, B, C, H, W]``, one per step and channel is ``[T, 1, C, 1, 1]`` (``[T, C, 1, 1]``
            would be one per image and channel).
        T: number of time-steps >= 1 where x is static; None where x has time as dimension 0.
        reset: ``"soft"`` or ``"hard"``.
        v_reset: potential after a spike with hard reset.
        signed: also fire -1, as above.
        fires: ``"ge"`` or ``"gt"``: whether a potential equal to v_threshold fires or not.
        emit: ``"spikes"`` (s_t in x's dtype, ``[T, *]``), ``"psp"`` (v_threshold * s_t in x's
            dtype, where a theta beyond its range is infinite: what the next layer receives),
            ``"uint8"`` (``int8`` if signed), ``"words"``
            (int32 ``[*]``, bit t is step t, T <= 32, not with signed) or ``"count"`` (int32
            ``[*]``, T < 2**31, net where signed).
        surrogate: h, what stands in for the derivative of a spike in the backward pass: one of
            `spikeconv.surrogate`, or any function from m - v_threshold ``[T, *]`` to the derivative
            there. Not with ``signed=True``, whose spikes have no gradient.
        detach_reset: take no gradient through the spikes that reset the potential: s_t counts as a
            constant in the equations of v.
        return_v: ``"last"`` (float32 ``[*]``), ``"all"`` (``[T, *]``, after each step's reset) or
            None. What is not asked for is not written.
        backend: ``"reference"``, ``"cpp"``, ``"triton"``, ``"cuda"``, or None for the best that can
            run; the environment variable SPIKECONV_BACKEND stands in for None.
        count_init: int32, net count before the first step, with ``signed=True``: what a run that
            was split in time hands over together with v.

    Returns:
        ``(emitted, v)``; v is None where it was not asked for. Both are contiguous, or
        channels-last in each step where x is.

    Raises:
        TypeError, ValueError: naming the argument that is wrong, or the backend that cannot run.
        RuntimeError: on backward, without a surrogate; on a second backward, with create_graph; of
            derivatives in forward mode or by torch.func's grad, vjp, jacrev and jvp.

    Source: design of the IF neuron with reset by subtraction, Rueckauer et al. 2017; initial
    potential, Bu et al., "Optimized Potential Initialization for Low-latency Spiking Neural
    Networks", AAAI 2022. The signed neuron follows Wang et al., IJCAI 2022.

    Example:
        >>> import torch
        >>> from spikeconv import if_multistep
        >>> x = torch.tensor([[0.6], [0.6], [0.6], [0.6]])
        >>> spikes, v = if_multistep(x, v_threshold=1.0, v_init=0.5)
        >>> spikes.flatten().tolist(), round(v.item(), 4)
        ([1.0, 0.0, 1.0, 0.0], 0.9)
        >>> from spikeconv.surrogate import PiecewiseLinear
        >>> x = torch.full((4, 1), 0.6, requires_grad=True)
        >>> spikes, _ = if_multistep(x, 1.0, 0.5, surrogate=PiecewiseLinear())
        >>> spikes.sum().backward()
        >>> round(x.grad[-1].item(), 4)  # m = 0.9 at the last step, a tenth below the threshold
        0.9
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"if_multistep: x must be a tensor, got {type(x).__name__}")
    if T is not None and (isinstance(T, bool) or not isinstance(T, Integral | torch.SymInt)):
        raise TypeError(f"if_multistep: T must be an integer or None, got {type(T).__name__}")
    if T is not None and T > _INT64_MAX:
        raise ValueError(f"if_multistep: T must be an integer of 64 bits, got {T}")
    for argument, flag in (("reset", reset), ("fires", fires), ("emit", emit)):
        if not isinstance(flag, str):
            raise TypeError(f"if_multistep: {argument} must be a string, got {type(flag).__name__}")
    for argument, choice in (("return_v", return_v), ("backend", backend)):
        if choice is not None and not isinstance(choice, str):
            raise TypeError(
                f"if_multistep: {argument} must be a string or None, got {type(choice).__name__}"
            )
    for argument, switch in (("signed", signed), ("detach_reset", detach_reset)):
        if not isinstance(switch, bool):
            raise TypeError(f"if_multistep: {argument} must be True or False, got {switch!r}")
    _check_surrogate(surrogate)
    check_signed(signed, surrogate)
    if count_init is not None and not isinstance(count_init, Tensor):
        raise TypeError(
            f"if_multistep: count_init must be a tensor or None, got {type(count_init).__name__}"
        )
    operands = (
        x,
        _parameter("v_threshold", v_threshold, x),
        _parameter("v_init", v_init, x),
        None if bias is None else _parameter("bias", bias, x),
    )
    check_no_tangent("if_multistep", operands)
    options: dict[str, Any] = {
        "T": None if T is None else int(T),
        "reset": reset,
        "v_reset": _number("v_reset", v_reset, "a number", state_dtype(x)),
        "signed": signed,
        "fires": fires,
        "backend": backend,
    }
    name, parameter, slope = None, 1.0, None
    # A subclass of one of them may have a derivative of its own.
    if isinstance(surrogate, BuiltIn) and type(surrogate) is BUILT_IN[surrogate.name]:
        name, parameter = surrogate.name, surrogate.parameter
    elif surrogate is not None and wants_gradient(*operands):
        name, slope = "given", slope_of(surrogate, *operands, **options)
    emitted, v = OPERATOR(
        *operands,
        count_init,
        slope,
        **options,
        emit=emit,
        return_v=return_v,
        surrogate=name,
        surrogate_parameter=parameter,
        detach_reset=detach_reset,
    )
    return emitted, None if return_v is None else v
