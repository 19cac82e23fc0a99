"""Checks that sizes decide what they decided while a forward was traced: which are worth it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from spikeconv.network.layers import same_decision
from spikeconv.network.structure import holds_tensors


def leave_out_costly_checks(graph: fx.Graph, values: Mapping[fx.Node, Any]) -> bool:
    """Leave out the checks that ask a tensor within the network for its size.

    A spiking network may never make that tensor as such, so for such a forward the size of the
    images is fixed. What is left asks the images themselves, or how many parts something was taken
    into.

    Args:
        graph: of a forward, with calls of `same_decision`.
        values: an example's.

    Returns:
        Whether any was left out.
    """
    read = _read_by(n for n in graph.nodes if n.op == "output" or n.target is torch._assert)

    def is_at_hand(node: fx.Node) -> bool:
        if node.op == "placeholder" or not holds_tensors(values[node]):
            return True
        return node in read and not isinstance(values[node], Tensor)

    costly = []
    for check in (node for node in graph.nodes if node.target is same_decision):
        numbers = (node for node in _read_by([check]) if not holds_tensors(values[node]))
        if not all(is_at_hand(source) for number in numbers for source in number.all_input_nodes):
            costly.append(check)
    for check in costly:
        graph.erase_node(check)
    return bool(costly)


def _read_by(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """These, and all that they read."""
    found: set[fx.Node] = set()
    left = list(nodes)
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += node.all_input_nodes
    return found
