"""What a node of a graph depends on."""

from __future__ import annotations

from collections.abc import Callable

from torch import fx


def sources(node: fx.Node, is_given: Callable[[fx.Node], bool] | None = None) -> list[fx.Node]:
    """A node behind all that it depends on, in the order in which they are computed.

    Args:
        node: the last of the list.
        is_given: whether a node's value is known, so that nothing is needed for it.
    """
    needed, waiting = {node}, [node]
    while waiting:
        one = waiting.pop()
        if is_given is not None and is_given(one):
            continue
        new = [source for source in one.all_input_nodes if source not in needed]
        needed.update(new)
        waiting += new
    return [one for one in node.graph.nodes if one in needed]
