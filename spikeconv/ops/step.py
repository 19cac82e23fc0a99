"""One time-step of the operator in plain torch, for calls so short that checks would outlast them.

The operator's checks, layout and dispatch are made once for a run of T steps and cost 40 us, and
with a gradient ten times that; a step of a thousand neurons takes 5 us here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikeconv.ops.call import state_dtype
from spikeconv.ops.check import DTYPES, broadcasts
from spikeconv.ops.if_multistep import if_multistep, wants_gradient
from spikeconv.surrogate import FromSpikeFunction, Sigmoid, Surrogate

Derivative = Surrogate | Callable[[Tensor], Tensor]

MAX_NEURONS = 2**15
"""Where the operator, which passes over memory once, has caught up on one thread of a CPU."""


class _Fire(torch.autograd.Function):
    """The step at u = m - theta >= 0 (or > 0) with the surrogate's derivative."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, tie_fires: bool, surrogate: Derivative) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return _above(u, 0.0, tie_fires)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate(u), None, None


class _Instead(torch.autograd.Function):
    """Spikes in place of a smooth function's values, with its derivative."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, spikes: Tensor) -> Tensor:
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0], None


def _spikes(u: Tensor, tie_fires: bool, surrogate: Derivative) -> Tensor:
    """Spikes that autograd takes back by the surrogate.

    By a function that has this derivative, where there is one: autograd differentiates it quicker
    than it calls a derivative in Python.
    """
    spikes: Tensor
    if isinstance(surrogate, FromSpikeFunction):
        smooth = surrogate.function(u)
    elif type(surrogate) is Sigmoid:
        smooth = torch.sigmoid(surrogate.alpha * u)
    else:
        spikes = _Fire.apply(u, tie_fires, surrogate)  # type: ignore[no-untyped-call]
        return spikes
    fired = _above(u.detach(), 0.0, tie_fires)
    spikes = _Instead.apply(smooth, fired)  # type: ignore[no-untyped-call]
    return spikes


def _above(m: Tensor, theta: Tensor | float, tie_fires: bool) -> Tensor:
    """1 where m reaches theta, else 0, in m's dtype; five times faster than a mask of bool."""
    spikes = torch.empty_like(m)
    return (torch.ge if tie_fires else torch.gt)(m, theta, out=spikes)


def if_step(
    x: Tensor,
    v: float | Tensor,
    v_threshold: Tensor,
    bias: Tensor | None = None,
    *,
    v_reset: float | None = None,
    fires: str = "ge",
    surrogate: Derivative | None = None,
    detach_reset: bool = False,
) -> tuple[Tensor, Tensor]:
    """One step of `if_multistep`, equal to it, without its checks.

    Args:
        x: current ``[*]``, float.
        v: potential before the step, a number or a tensor that broadcasts to ``[*]``.
        v_threshold: as `if_multistep`, likewise the bias; on x's device.
        bias: or None.
        v_reset: potential after a spike, or None for soft reset.
        fires: ``"ge"`` or ``"gt"``.
        surrogate: derivative of a spike, for autograd; None: the operands want no gradient.
        detach_reset: as `if_multistep`.

    Returns:
        ``(spikes, v)``: 0 and 1 in x's dtype, and the potential after the reset, both new tensors
        ``[*]``.

    Example:
        >>> spikes, v = if_step(torch.tensor([0.5, 1.5]), 0.25, torch.tensor(1.0))
        >>> spikes.tolist(), v.tolist()
        ([0.0, 1.0], [0.75, 0.75])
    """
    dtype = state_dtype(x)
    m = torch.add(x if x.dtype == dtype else x.to(dtype), v)
    if bias is not None:
        m = m + bias
    theta = v_threshold.to(dtype)
    largest = torch.finfo(dtype).max  # an infinite potential fires, and inf * 0 is no 0
    if surrogate is not None:
        spikes = _spikes(m - theta, fires == "ge", surrogate)
        fell = spikes.detach() if detach_reset else spikes
        if v_reset is None:
            return spikes.to(x.dtype), torch.addcmul(m, theta, fell, value=-1.0)
        return spikes.to(x.dtype), (1.0 - fell) * m.clamp(max=largest) + fell * v_reset
    spikes = _above(m, theta, fires == "ge")
    if v_reset is None:
        m.addcmul_(spikes, theta, value=-1.0)  # exact: spikes are 0 and 1
    elif v_reset == 0.0:
        m.clamp_(max=largest).mul_(1.0 - spikes)
    else:
        m.masked_fill_(spikes != 0, v_reset)
    return spikes.to(x.dtype), m


def one_step(
    x: Tensor,
    v: float | Tensor,
    v_threshold: Tensor,
    bias: Tensor | None = None,
    *,
    v_reset: float | None = None,
    fires: str = "ge",
    surrogate: Derivative | None = None,
    detach_reset: bool = False,
) -> tuple[Tensor, Tensor]:
    """One step by whichever is quicker: `if_step`, or `if_multistep` with T = 1.

    Arguments and results are those of `if_step`; what is wrong is said by `if_multistep`.
    """
    if _is_small(x, v, v_threshold, bias):
        taught = wants_gradient(x, v, v_threshold, bias)
        # Only the operator says on backward that a surrogate is missing, and compiles with one.
        if not taught or (surrogate is not None and not torch.compiler.is_compiling()):
            return if_step(
                *(x, v, v_threshold, bias),
                v_reset=v_reset,
                fires=fires,
                surrogate=surrogate if taught else None,
                detach_reset=detach_reset,
            )
    spikes, last = if_multistep(
        x,
        v_threshold,
        v,
        bias,
        T=1,
        reset="soft" if v_reset is None else "hard",
        v_reset=0.0 if v_reset is None else v_reset,
        fires=fires,
        surrogate=surrogate,
        detach_reset=detach_reset,
    )
    assert last is not None
    return spikes.squeeze(0), last


def _is_small(x: Tensor, *parameters: float | Tensor | None) -> bool:
    """Whether `if_step` takes it: few neurons, and nothing that would be refused."""
    if not isinstance(x, Tensor) or x.numel() > MAX_NEURONS:
        return False
    if x.dtype not in DTYPES or x.layout != torch.strided:
        return False
    return all(
        p.device == x.device and (p.dim() == 0 or broadcasts(p.shape, x.shape))
        for p in parameters
        if isinstance(p, Tensor)
    )
