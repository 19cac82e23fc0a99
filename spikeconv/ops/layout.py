"""How the compiled kernels see a call: dense outputs, and a stride per operand and dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from spikeconv.ops.call import Population, has_time, memory_order


@dataclass(frozen=True)
class Layout:
    """Neuron dimensions in the outputs' memory order, merged where every operand allows it.

    Neuron n has the row-major index n over `sizes`; an operand's element lies at the dot product of
    that index with its strides (0 where it is broadcast). At every step x and the bias lie their
    `stride_t` further (0 where they stay the same), whatever dimensions were merged.
    """

    sizes: list[int]
    x_stride_t: int
    x_strides: list[int]
    threshold_strides: list[int]
    v_init_strides: list[int]
    bias_stride_t: int
    bias_strides: list[int]
    count_strides: list[int]


def _broadcast_strides(tensor: Tensor, rank: int) -> list[int]:
    own = [0 if size == 1 else s for size, s in zip(tensor.shape, tensor.stride(), strict=True)]
    return [0] * (rank - len(own)) + own


def coalesce(
    sizes: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Merge neighbouring dimensions that every operand walks as one; drop those of size 1.

    >>> coalesce([2, 3, 4], [[12, 4, 1], [0, 1, 0]])  # dense x, one value per channel
    ([2, 3, 4], [[12, 4, 1], [0, 1, 0]])
    >>> coalesce([2, 3, 4], [[12, 4, 1], [0, 0, 0]])  # dense x, one value for all
    ([24], [[1], [0]])
    """
    merged_sizes: list[int] = []
    merged: list[list[int]] = [[] for _ in strides]
    for dim, size in enumerate(sizes):
        if size == 1:
            continue
        if merged_sizes and all(
            out[-1] == size * own[dim] for out, own in zip(merged, strides, strict=True)
        ):
            merged_sizes[-1] *= size
            for out, own in zip(merged, strides, strict=True):
                out[-1] = own[dim]
        else:
            merged_sizes.append(size)
            for out, own in zip(merged, strides, strict=True):
                out.append(own[dim])
    if not merged_sizes:
        return [1], [[0] for _ in strides]
    return merged_sizes, merged


def layout_of(call: Population) -> Layout:
    """The flat layout of a checked call with at least one neuron."""
    current = call.x if call.static else call.x.select(0, 0)
    order = memory_order(current)
    bias, bias_stride_t = call.bias, 0
    if bias is not None and has_time(bias, call.shape):
        bias_stride_t = bias.stride(0) if call.T > 1 else 0
        bias = bias.select(0, 0)
    operands = [current, call.v_threshold, call.v_init, bias, call.count_init]
    given = [o for o in operands if o is not None]
    rows = [_broadcast_strides(o, current.dim()) for o in given]
    sizes, merged = coalesce(
        [current.shape[d] for d in order], [[row[d] for d in order] for row in rows]
    )
    columns = iter(merged)
    x, theta, v_init, bias_strides, count = (
        next(columns) if o is not None else [] for o in operands
    )
    x_stride_t = 0 if call.static else call.x.stride(0)
    return Layout(sizes, x_stride_t, x, theta, v_init, bias_stride_t, bias_strides, count)
