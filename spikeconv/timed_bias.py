"""The bias of each step of a call: the one of all steps, and those of the first ones."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor


def timed_bias(
    bias: Tensor | None,
    step_bias: Tensor | None,
    x: Tensor,
    T: int | None,
    start: int,
) -> Tensor | None:
    """The operator's bias from step `start` on: one for all of x's steps, or one for each.

    Args:
        bias: of every step ``[*]``, or None.
        step_bias: beside it at the first steps ``[T, *]``, or None; nothing from its end on.
        x: as `if_multistep`, likewise T.
        start: the first step of this call, counted from 0.

    Raises:
        TypeError, ValueError: `start` is no integer, or below 0.

    Example:
        >>> steps = torch.tensor([[1.0], [2.0]])
        >>> timed_bias(torch.tensor(0.5), steps, torch.zeros(3, 1), None, 1).flatten().tolist()
        [2.5, 0.5, 0.5]
    """
    if isinstance(start, bool) or not isinstance(start, Integral | torch.SymInt):
        raise TypeError(f"IFNode: start must be an integer, got {type(start).__name__}")
    if start < 0:
        raise ValueError(f"IFNode: start must be at least 0, got {start}")
    if step_bias is None or not isinstance(x, Tensor):
        return bias
    if T is None and x.dim() > 0:
        steps, dims = x.shape[0], x.dim() - 1
    elif isinstance(T, Integral | torch.SymInt):
        steps, dims = int(T), x.dim()
    else:
        return bias  # the operator says what is wrong with x or T
    rows = step_bias[start : start + max(steps, 0)]
    if len(rows) == 0:
        return bias
    if len(rows) < steps:  # with -0, which changes no sum, not even that of -0
        rest = rows.new_full((steps - len(rows), *rows.shape[1:]), -0.0)
        rows = torch.cat((rows, rest))
    missing = [1] * (dims + 1 - rows.dim())
    rows = rows.view(steps, *missing, *rows.shape[1:])
    if bias is None:
        return rows
    # In 16 bits each of them was rounded once; their sum is not.
    return rows.to(torch.promote_types(rows.dtype, torch.float32)) + bias
