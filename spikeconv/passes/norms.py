"""Norms that take statistics of training at inference, as one batch norm: they are affine then."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from spikeconv.network.subclasses import computes_as
from spikeconv.passes.rewrite import first

BatchNorm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d

OF_RANK: dict[int, type[BatchNorm]] = {
    **{2: nn.BatchNorm1d, 3: nn.BatchNorm1d},
    **{4: nn.BatchNorm2d, 5: nn.BatchNorm3d},
}
"""Batch norms by how many dimensions their input has."""


def as_batch_norm(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    """The batch norm that another norm is at inference; None where the call is no such norm.

    An instance norm without running statistics takes those of its image, and so is none.
    """
    norm: Any = modules[str(node.target)] if node.op == "call_module" else None
    kinds = (nn.SyncBatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    if norm is None or not computes_as(norm, *kinds) or norm.running_mean is None:
        return None
    if norm.training:
        return None
    rank = len(first(node).meta.get("shape", ()))
    if rank not in OF_RANK or node.meta.get("mixes"):
        return None
    return with_weights(norm, OF_RANK[rank])


def with_weights(norm: Any, kind: type[BatchNorm]) -> BatchNorm:
    """A batch norm of a kind, with another norm's statistics, and its weights or 1 and 0."""
    statistics = norm.running_mean, norm.running_var
    return batch_norm(kind, *statistics, norm.weight, norm.bias, norm.eps)


def batch_norm(
    kind: type[BatchNorm],
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> BatchNorm:
    """A batch norm of a kind, from tensors ``[C]``; weight and bias are 1 and 0 where None."""
    made: Any = kind(len(mean), eps=eps).to(mean).eval().requires_grad_(False)
    given = {"running_mean": mean, "running_var": var, "weight": weight, "bias": bias}
    with torch.no_grad():
        for name, value in given.items():
            if value is not None:
                getattr(made, name).copy_(value)
    result: BatchNorm = made
    return result
