"""Parameters where a kernel can read them: on x's device, in the state dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeconv.ops.call import has_time, state_dtype


def beside(x: Tensor, parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """A parameter on x's device; a 0-dim tensor of the CPU as a fill, which can be captured."""
    if parameter.device == x.device:
        return parameter.to(dtype)
    return torch.full((), parameter.item(), dtype=dtype, device=x.device)


def bias_beside(x: Tensor, bias: Tensor | None, static: bool, steps: int) -> Tensor | None:
    """The bias on x's device; where it has time, with as many steps, read over and over if one."""
    if bias is None:
        return None
    bias = beside(x, bias, state_dtype(x))
    shape = x.shape if static else x.shape[1:]
    return bias.expand(steps, *bias.shape[1:]) if has_time(bias, shape) else bias
