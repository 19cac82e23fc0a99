"""When each call of a normalised graph runs: before the neurons, with them, or after them."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from spikeconv.convert import vocabulary
from spikeconv.convert.layers import Rectifier
from spikeconv.convert.program import Phase


def kind_of(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[str, Any]:
    """A step's kind, and what it calls in the graph."""
    if node.op == "call_module" and isinstance(modules[str(node.target)], Rectifier):
        return "neuron", node.target
    if node.op == "call_module" and vocabulary.is_max_pool(node, modules):
        return "max_pool", node.target
    plain = {"call_module": "module", "call_function": "function", "call_method": "method"}
    return plain.get(node.op, "constant"), node.target


def phases_of(graph: fx.Graph, modules: dict[str, nn.Module]) -> dict[fx.Node, Phase]:
    """A phase per node: temporal from the first neuron on, readout where no neuron follows."""
    is_neuron = {node: kind_of(node, modules)[0] == "neuron" for node in graph.nodes}
    follows_neuron: dict[fx.Node, bool] = {}
    for node in graph.nodes:
        follows_neuron[node] = is_neuron[node] or any(
            follows_neuron[source] for source in node.all_input_nodes
        )
    feeds_neuron: dict[fx.Node, bool] = {}
    for node in reversed(graph.nodes):
        feeds_neuron[node] = any(is_neuron[user] or feeds_neuron[user] for user in node.users)

    def phase(node: fx.Node) -> Phase:
        if not follows_neuron[node]:
            return Phase.CONSTANT if node.meta.get("constant") else Phase.STATIC
        return Phase.TEMPORAL if is_neuron[node] or feeds_neuron[node] else Phase.READOUT

    return {node: phase(node) for node in graph.nodes}
