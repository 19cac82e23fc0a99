"""The windows of average pooling, whatever the call that asks for it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from spikeconv.fuse.channels import Unsupported
from spikeconv.fuse.layer import Pair
from spikeconv.network.program import Step
from spikeconv.network.vocabulary import AVERAGE_POOL_ARGUMENTS

_POOLS = (F.avg_pool1d, F.avg_pool2d)
_MEANS = (torch.mean, "mean")
_ADAPTIVE_POOLS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)


def pool_window(
    step: Step, layer: nn.Module | None, shape: tuple[int, ...]
) -> tuple[Pair, Pair, Pair] | None:
    """(kernel, stride, padding) of average pooling; None where the step is another call."""
    rank = len(shape) - 1
    if step.kind in ("function", "method") and step.target in _MEANS:
        dims = step.args[1] if len(step.args) > 1 else step.kwargs.get("dim")
        dims = dims if isinstance(dims, tuple | list) else (dims,)
        places = range(2, len(shape) + 1)
        if any(not isinstance(dim, int) for dim in dims) or {
            dim % (len(shape) + 1) for dim in dims
        } != {*places}:
            return None
        size = pair(shape[1:], rank, 1)
        return size, size, (0, 0)
    if isinstance(layer, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d) or (
        step.kind == "function" and step.target in _ADAPTIVE_POOLS
    ):
        if not shape or any(a % b for a, b in zip(shape[1:], step.shape[1:], strict=True)):
            raise Unsupported(f"{step.label} pools windows of several sizes")
        size = pair(tuple(a // b for a, b in zip(shape[1:], step.shape[1:], strict=True)), rank, 1)
        return size, size, (0, 0)
    if isinstance(layer, nn.AvgPool1d | nn.AvgPool2d):
        given = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding")}
        whole = layer.count_include_pad and not layer.ceil_mode
        divisor = getattr(layer, "divisor_override", None)
    elif step.kind == "function" and step.target in _POOLS:
        usual = AVERAGE_POOL_ARGUMENTS
        given = usual | dict(zip(usual, step.args[1:], strict=False))
        given |= step.kwargs
        whole = given["count_include_pad"] and not given["ceil_mode"]
        divisor = given["divisor_override"]
    else:
        return None
    kernel = pair(given["kernel_size"], rank, 1)
    stride = pair(given["stride"] or given["kernel_size"], rank, 1)
    padding = pair(given["padding"], rank, 0)
    if divisor is not None:
        raise Unsupported(f"{step.label} divides by a number of its own")
    if not whole and (any(padding) or not _divides(shape, kernel, stride, rank)):
        raise Unsupported(f"{step.label} divides windows at the border by another number")
    return kernel, stride, padding


def _divides(shape: tuple[int, ...], kernel: Pair, stride: Pair, rank: int) -> bool:
    """Whether no window reaches beyond the image."""
    sizes = (1, *shape[1:])[-2:] if rank == 1 else shape[1:]
    return all((n - k) % s == 0 for n, k, s in zip(sizes, kernel, stride, strict=True))


def pair(value: Any, rank: int, missing: int) -> Pair:
    """A number or a tuple as (vertical, horizontal); a sequence has no vertical."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    values = values * rank if len(values) == 1 else values
    vertical, horizontal = (missing, *values)[-2:]
    return int(vertical), int(horizontal)
