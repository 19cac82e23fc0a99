"""Average pools of every spelling as nodes of NIR."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from spikeconv.network.program import Step
from spikeconv.network.vocabulary import AVERAGE_POOL_ARGUMENTS
from spikeconv.nir_io.graph import Graph, Inexpressible, Value, argument, first
from spikeconv.nir_io.shapes import flattened


def average_layer(graph: Graph, step: Step, layer: nn.AvgPool2d) -> Value:
    """Average pooling by a layer."""
    return _average(graph, step, *(getattr(layer, name) for name in AVERAGE_POOL_ARGUMENTS))


def average_call(graph: Graph, step: Step) -> Value:
    """Average pooling by a function."""
    named = enumerate(AVERAGE_POOL_ARGUMENTS.items(), start=1)
    return _average(graph, step, *(argument(step, i, name, usual) for i, (name, usual) in named))


def _average(
    graph: Graph,
    step: Step,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Value:
    if ceil_mode or divisor is not None or (np.any(padding) and not count_include_pad):
        raise Inexpressible(
            "NIR's average pools have neither ceil_mode, divisor_override nor "
            "count_include_pad=False"
        )
    return _pool(graph, step, kernel, kernel if stride in (None, ()) else stride, padding)


def _pool(graph: Graph, step: Step, kernel: Any, stride: Any, padding: Any) -> Value:
    x = first(graph, step)
    if len(x.shape) != 3:
        raise Inexpressible(f"NIR pools images, not values {list(x.shape)}")
    node = graph.nir.AvgPool2d(_pair(kernel), _pair(stride), _pair(padding))
    return graph.add(step.name, node, x, step.shape)


def _pair(sizes: Any) -> Any:
    """A size of height and one of width."""
    return np.broadcast_to(np.array(sizes, dtype=np.int64), 2).copy()


def adaptive(graph: Graph, step: Step, layer: nn.Module | None = None) -> Value:
    """Average pooling to a size that divides the value's."""
    x = first(graph, step)
    size, out = np.array(x.shape[1:]), np.array(step.shape[1:])
    if len(x.shape) != 3 or (size % out).any():
        raise Inexpressible(
            f"NIR has no adaptive pool of values {list(x.shape)} to {list(step.shape)}"
        )
    return _pool(graph, step, size // out, size // out, 0)


def mean(graph: Graph, step: Step) -> Value:
    """A mean over height and width."""
    x = first(graph, step)
    dims = argument(step, 1, "dim")
    dims = (dims,) if isinstance(dims, int) else dims
    if (
        len(x.shape) != 3
        or not isinstance(dims, list | tuple)
        or sorted(d % 4 for d in dims) != [2, 3]
        or argument(step, 3, "dtype") is not None
    ):
        raise Inexpressible("NIR has means over height and width only")
    pool = graph.nir.AvgPool2d(_pair(x.shape[1:]), _pair(x.shape[1:]), _pair(0))
    pooled = graph.add(f"{step.name}_pool", pool, x, (x.shape[0], 1, 1))
    return flattened(graph, step, pooled)
