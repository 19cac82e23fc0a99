"""When each call of a normalised graph runs: before the neurons, with them, or after them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, TypeVar

from torch import fx, nn

from spikeconv.convert import vocabulary
from spikeconv.convert.layers import Rectifier
from spikeconv.convert.program import Phase

Call = TypeVar("Call", bound=Hashable)


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
    return assign_phases(
        {node: node.all_input_nodes for node in graph.nodes},
        {node for node in graph.nodes if kind_of(node, modules)[0] == "neuron"},
        {node for node in graph.nodes if node.meta.get("constant")},
    )


def assign_phases(
    reads: Mapping[Call, Collection[Call]], neurons: Collection[Call], constants: Collection[Call]
) -> dict[Call, Phase]:
    """A phase per call.

    Args:
        reads: what each call reads, in the order in which they run.
        neurons: the calls that are neurons.
        constants: those that depend on no input.
    """
    after: set[Call] = set()
    for call, read in reads.items():
        if call in neurons or not after.isdisjoint(read):
            after.add(call)
    before: set[Call] = set()
    for call in reversed(list(reads)):
        if call in neurons or call in before:
            before.update(reads[call])

    def phase(call: Call) -> Phase:
        if call not in after:
            return Phase.CONSTANT if call in constants else Phase.STATIC
        return Phase.TEMPORAL if call in neurons or call in before else Phase.READOUT

    return {call: phase(call) for call in reads}
