"""One time-step of the operator in plain torch, for calls so short that checks would outlast them.

The operator's checks, layout and dispatch are made once for a run of T steps and cost 40 us; a step
of a thousand neurons takes 5 us here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spikeconv.ops.call import state_dtype
from spikeconv.ops.check import DTYPES, broadcasts

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
    compare = torch.ge if fires == "ge" else torch.gt
    spikes = torch.empty_like(m)
    compare(m, theta, out=spikes)  # five times faster than by way of a mask of bool
    if v_reset is None:
        m.addcmul_(spikes, theta, value=-1.0)  # exact: spikes are 0 and 1
    else:
        m.masked_fill_(spikes != 0, v_reset)
    return spikes.to(x.dtype), m


def takes_step(x: Tensor, *parameters: float | Tensor | None) -> bool:
    """Whether `if_step` is for this call: few neurons, and nothing that `if_multistep` refuses."""
    if x.numel() > MAX_NEURONS or x.dtype not in DTYPES or x.layout != torch.strided:
        return False
    return all(
        not isinstance(p, Tensor)
        or (p.device == x.device and (p.dim() == 0 or broadcasts(p.shape, x.shape)))
        for p in parameters
    )
