"""Sums whose bits depend neither on the device nor on the number of threads."""

from __future__ import annotations

from torch import Tensor


def _fold(values: Tensor, dim: int) -> Tensor:
    """The sum over one dimension, which stays with size 1: halves are added until one is left."""
    if values.shape[dim] == 0:
        return values.sum(dim, keepdim=True)
    while (size := values.shape[dim]) > 1:
        half = size // 2
        folded = values.narrow(dim, 0, half) + values.narrow(dim, half, half)
        if size % 2:
            folded.narrow(dim, 0, 1).add_(values.narrow(dim, size - 1, 1))
        values = folded
    return values


def sum_to(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The gradient of a tensor of that shape out of that of what it was broadcast to.

    `values` has as many dimensions or more; those that `shape` lacks or has as 1 are summed over.

    >>> import torch
    >>> sum_to(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), (3, 1)).flatten().tolist()
    [3.0, 7.0, 11.0]
    """
    missing = values.dim() - len(shape)
    for dim in range(values.dim()):
        if dim < missing or shape[dim - missing] == 1:
            values = _fold(values, dim)
    return values.reshape(shape)
