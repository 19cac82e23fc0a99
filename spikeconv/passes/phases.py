"""What each call of a normalised graph becomes, and in which phase it runs."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from spikeconv.network.layers import Rectifier
from spikeconv.network.phases import assign_phases
from spikeconv.network.program import Phase
from spikeconv.passes import kinds


def kind_of(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[str, Any]:
    """A step's kind, and what it calls in the graph."""
    if node.op == "call_module" and isinstance(modules[str(node.target)], Rectifier):
        return "neuron", node.target
    if node.op == "call_module" and kinds.is_max_pool(node, modules):
        return "max_pool", node.target
    plain = {"call_module": "module", "call_function": "function", "call_method": "method"}
    return plain.get(node.op, "constant"), node.target


def phases_of(graph: fx.Graph, modules: dict[str, nn.Module]) -> dict[fx.Node, Phase]:
    """A phase per node: temporal from the first neuron on, readout where no neuron follows."""
    return assign_phases(
        {node: node.all_input_nodes for node in graph.nodes},
        {node for node in graph.nodes if kind_of(node, modules)[0] == "neuron"},
        {node for node in graph.nodes if node.meta.get("constant")},
    )
