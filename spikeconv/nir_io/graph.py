"""A NIR graph that grows node by node, and the values that its nodes give.

A value is the sum of what some nodes give: NIR adds what arrives at a node, so an addition is no
node of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeconv.network.program import Ref, Step
from spikeconv.nir_io.library import as_array

Shape = tuple[int, ...]


class Inexpressible(Exception):
    """Why NIR has no node for a call."""


@dataclass(frozen=True)
class Value:
    """The sum of what some nodes give, for one image.

    Attributes:
        sources: names of the nodes.
        shape: without batch and time.
        problems: why there are no such nodes, for each call that has none.
    """

    sources: tuple[str, ...]
    shape: Shape
    problems: tuple[str, ...] = ()


class Graph:
    """Nodes and edges of a NIR graph, as they are added.

    Args:
        nir: the package.
        constant: gives the weight behind a reference, or None where it is no weight.

    Attributes:
        nodes, edges: so far.
        values: of the network's inputs and calls, by name.
        held: where a layer's tensor stands in a node, by the layer and the tensor's name.
    """

    def __init__(self, nir: Any, constant: Callable[[Any], Tensor | None]) -> None:
        self.nir = nir
        self.constant = constant
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.values: dict[str, Value] = {}
        self.held: dict[tuple[str, str], tuple[str, str]] = {}

    def add(self, name: str, node: Any, x: Value | None, shape: Shape) -> Value:
        """A node that reads a value, or none, and gives one of this shape."""
        while name in self.nodes:
            name += "_"
        read = shape if x is None else x.shape
        # What some versions of nir derive themselves is wrong for groups and for long kernels.
        node.input_type = {"input": np.array(read, dtype=np.int64)}
        node.output_type = {"output": np.array(shape, dtype=np.int64)}
        self.nodes[name] = node
        self.edges += [(source, name) for source in (() if x is None else x.sources)]
        return Value((name,), shape, () if x is None else x.problems)

    def scaled(self, name: str, x: Value, factor: float | Tensor) -> Value:
        """A value times a factor that broadcasts to it."""
        like = factor if isinstance(factor, Tensor) else torch.tensor(float(factor))
        scale = as_array(like.expand(x.shape).contiguous())
        return self.add(name, self.nir.Scale(scale=scale), x, x.shape)

    def read(self, reference: Any) -> Value:
        """The value that an argument refers to."""
        if not isinstance(reference, Ref) or reference.name not in self.values:
            raise Inexpressible("it reads what no neuron and no input gives")
        return self.values[reference.name]


def first(graph: Graph, step: Step) -> Value:
    """The value that a call of one value reads."""
    return graph.read(step.args[0] if step.args else step.kwargs.get("input"))


def argument(step: Step, position: int, name: str, default: Any = None) -> Any:
    """An argument given by position or by name."""
    return step.args[position] if position < len(step.args) else step.kwargs.get(name, default)
