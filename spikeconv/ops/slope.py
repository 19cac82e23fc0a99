"""A user's own surrogate, made a tensor that every backend can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikeconv.ops.call import state_dtype
from spikeconv.ops.schema import OPERATOR


@torch.no_grad()
def slope_of(
    surrogate: Callable[[Tensor], Tensor],
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None,
    **options: Any,
) -> Tensor:
    """The surrogate's derivative `[T, *]` at every step of a run, in the state dtype.

    The run is made once more for it, to see the potentials; the arguments are the operator's.

    Raises:
        TypeError, ValueError: the surrogate returned no floating-point tensor of its argument's
            shape and place.
    """
    _, trace = OPERATOR(x, v_threshold, v_init, bias, **options, emit="count", return_v="all")
    # m - theta, with the roundings of the run itself: v is that of the step before.
    u = torch.empty_like(trace)
    u[0] = v_init.to(u)
    u[1:] = trace[:-1]
    u += x.to(u.dtype)
    if bias is not None:
        u += bias.to(u)
    u -= v_threshold.to(u)
    slope = surrogate(u)
    if not isinstance(slope, Tensor) or not slope.is_floating_point():
        given = slope.dtype if isinstance(slope, Tensor) else type(slope).__name__
        raise TypeError(f"if_multistep: surrogate must return a floating-point tensor, got {given}")
    if slope.shape != u.shape or slope.device != u.device:
        raise ValueError(
            f"if_multistep: surrogate must return a tensor of shape {list(u.shape)} on {u.device}, "
            f"got shape {list(slope.shape)} on {slope.device}"
        )
    return slope.detach().to(state_dtype(x))
