"""Another shape of the same values, as nodes of NIR."""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from spikeconv.network.program import Step
from spikeconv.nir_io.graph import Graph, Inexpressible, Value, first


def reshape(graph: Graph, step: Step, layer: nn.Module | None = None) -> Value:
    """Any call that gives the same values another shape."""
    return flattened(graph, step, first(graph, step))


def flattened(graph: Graph, step: Step, x: Value) -> Value:
    """A value of another shape: the same where it has not changed, else some dimensions as one."""
    if x.shape == step.shape:
        return x
    for start in range(len(x.shape)):
        for end in range(start, len(x.shape)):
            inner = math.prod(x.shape[start : end + 1])
            if (*x.shape[:start], inner, *x.shape[end + 1 :]) == step.shape:
                node = graph.nir.Flatten({"input": np.array(x.shape)}, start, end)
                return graph.add(step.name, node, x, step.shape)
    raise Inexpressible(f"NIR flattens, but gives {list(x.shape)} no shape {list(step.shape)}")
