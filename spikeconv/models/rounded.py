"""Weights in 8 bits with a scale for each output: a file of a quarter of the size."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_SCALE = "scale."
_MOST = 127


def to_int8(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round every weight with rows, one for each output, to 8 bits; all else stays.

    ``q = round(w / scale)`` with ``scale = max abs(w) / 127`` over the row, so no weight moves by
    more than half a scale.

    Args:
        state: parameter name -> tensor. Floating-point tensors of two dimensions or more are
            rounded, unless the name of their scale is taken.

    Returns:
        The same names, with int8 ``q`` for what is rounded, and beside each a float32 tensor
        ``scale.<name>`` ``[out]``.

    Example:
        >>> rounded = to_int8({"weight": torch.tensor([[2.54, -1.27], [0.0, 0.0]])})
        >>> rounded["weight"].tolist(), [round(s, 6) for s in rounded["scale.weight"].tolist()]
        ([[127, -64], [0, 0]], [0.02, 0.0])
    """
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        rows = tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() > 0
        if not rows or _SCALE + name in state:
            result[name] = tensor
            continue
        weight = tensor.detach().float()
        scale = weight.flatten(1).abs().amax(1) / _MOST
        divisor = torch.where(scale > 0, scale, 1.0)
        result[name] = (weight / _beside(divisor, weight)).round().to(torch.int8)
        result[_SCALE + name] = scale
    return result


def from_int8(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float32 weights ``q scale`` of what `to_int8` made; any other tensors as they are."""
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        scale = tensors.get(_SCALE + name)
        if tensor.dtype == torch.int8 and scale is not None:
            result[name] = tensor.float() * _beside(scale, tensor)
        elif tensors.get(name.removeprefix(_SCALE), tensor).dtype != torch.int8:
            result[name] = tensor
    return result


def _beside(scale: Tensor, rows: Tensor) -> Tensor:
    """One number for each row, as it multiplies rows."""
    return scale.view(-1, *[1] * (rows.ndim - 1))
