"""One time-step of the operator in plain torch, for calls so short that checks would outlast them.

The operator's checks, layout and dispatch are made once for a run of T steps and cost 40 us; a step
of a thousand neurons takes 5 us here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spikeconv.ops.call import state_dtype
from spikeconv.ops.check import DTYPES, broadcasts
from spikeconv.ops.if_multistep import if_multistep
from spikeconv.surrogate import Surrogate

MAX_NEURONS = 2**15
"""Where the operator, which passes over memory once, has caught up on one thread of a CPU."""


def if_step(
    x: Tensor,
    v: float | Tensor,
    v_threshold: Tensor,
    bias: Tensor | None = None,
    *,
    v_reset: float | None = None,
    fires: str = "ge",
) -> tuple[Tensor, Tensor]:
    """One step of `if_multistep`, the same bits, without a gradient and without its checks.

    Args:
        x: current ``[*]``, float.
        v: potential before the step, a number or a tensor that broadcasts to ``[*]``.
        v_threshold: as `if_multistep`, likewise the bias; on x's device.
        bias: or None.
        v_reset: potential after a spike, or None for soft reset.
        fires: ``"ge"`` or ``"gt"``.

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
    spikes = torch.empty_like(m)
    (torch.ge if fires == "ge" else torch.gt)(m, theta, out=spikes)  # masks of bool are slow
    if v_reset is None:
        m.addcmul_(spikes, theta, value=-1.0)  # exact: spikes are 0 and 1
    elif v_reset == 0.0:
        m.clamp_(max=torch.finfo(dtype).max)  # an infinite potential fires, and inf * 0 is no 0
        m.mul_(1.0 - spikes)
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
    surrogate: Surrogate | Callable[[Tensor], Tensor] | None = None,
    detach_reset: bool = False,
) -> tuple[Tensor, Tensor]:
    """One step by whichever is quicker: `if_step`, or `if_multistep` with T = 1.

    Arguments and results are those of `if_step`; what is wrong is said by `if_multistep`.
    """
    if _is_small(x, v, v_threshold, bias):
        return if_step(x, v, v_threshold, bias, v_reset=v_reset, fires=fires)
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
    """Whether `if_step` takes it: few neurons, no gradient, nothing that would be refused."""
    if not isinstance(x, Tensor) or x.numel() > MAX_NEURONS:
        return False
    if x.dtype not in DTYPES or x.layout != torch.strided:
        return False
    tensors = [p for p in parameters if isinstance(p, Tensor)]
    if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in tensors)):
        return False
    return all(
        p.device == x.device and (p.dim() == 0 or broadcasts(p.shape, x.shape)) for p in tensors
    )
