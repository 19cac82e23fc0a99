"""Norms that take statistics of training at inference, as one batch norm: they are affine then."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import fx, nn

from spikeconv.convert.rewrite import first
from spikeconv.convert.tracer import computes_as

BatchNorm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d

# By how many dimensions their input has.
_OF_RANK: dict[int, type[BatchNorm]] = {
    **{2: nn.BatchNorm1d, 3: nn.BatchNorm1d},
    **{4: nn.BatchNorm2d, 5: nn.BatchNorm3d},
}


def as_batch_norm(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    """The batch norm that another norm is at inference; None where the call is no such norm.

    An instance norm without running statistics takes those of its image, and so is none.
    """
    norm: Any = modules[str(node.target)] if node.op == "call_module" else None
    kinds = (nn.SyncBatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    if norm is None or not computes_as(norm, *kinds) or norm.running_mean is None:
        return None
    rank = len(first(node).meta.get("shape", ()))
    if rank not in _OF_RANK or node.meta.get("mixes"):
        return None
    return with_weights(norm, _OF_RANK[rank])


def with_weights(norm: Any, kind: type[BatchNorm]) -> BatchNorm:
    """A batch norm of a kind, with another norm's statistics, and its weights or 1 and 0."""
    made: Any = kind(len(norm.running_mean), eps=norm.eps)
    made.to(norm.running_mean).eval().requires_grad_(False)
    with torch.no_grad():
        made.running_mean.copy_(norm.running_mean)
        made.running_var.copy_(norm.running_var)
        if norm.weight is not None:
            made.weight.copy_(norm.weight)
            made.bias.copy_(norm.bias)
    result: BatchNorm = made
    return result
