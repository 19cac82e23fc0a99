"""For which numbers of images a number that a forward asks for is another one.

What is asked of a batch's size is arithmetic on numbers that are linear in the number of images,
such as ``x.shape[0]`` and ``x.numel()``. Two examples give the line, and the arithmetic is done
again for numbers that a batch may have.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx

from spikeconv.network.structure import holds_tensors
from spikeconv.passes.sources import sources

Examples = tuple[Any, Any]
"""A value for so many images, and for one more."""

MOST_VALUES = 2**24
"""Larger batches are not asked about: nobody could try out what a network does with them."""

_EVERY, _MOST = 64, 2**24


def other_count(
    node: fx.Node, examples: Mapping[fx.Node, Examples], images: int, values: int = 1
) -> int | None:
    """A number of images, the smallest that is found, for which a number is another one.

    Every one up to 64 is looked at, and those around powers of two.

    Args:
        node: gives the number, the same in both examples.
        examples: the values of all nodes before it.
        images: how many the first of the examples is for.
        values: of one image.

    Returns:
        None where there is none.
    """

    def is_size(each: fx.Node) -> bool:
        inputs = each.all_input_nodes
        return not inputs or any(holds_tensors(examples[source][0]) for source in inputs)

    steps = [(each, is_size(each)) for each in sources(node, is_size)]

    def differs(count: int) -> bool:
        known: dict[fx.Node, Any] = {}
        try:
            for each, given in steps:
                known[each] = (
                    _on_the_line(*examples[each], count - images) if given else _run(each, known)
                )
            return bool(known[node] != examples[node][0])
        except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError):
            return True

    same = images + 1
    for count in _counts(images + 2, MOST_VALUES // max(1, values)):
        if not differs(count):
            same = count
            continue
        while count - same > 1:
            middle = (count + same) // 2
            same, count = (same, middle) if differs(middle) else (middle, count)
        return count
    return None


def _counts(first: int, limit: int) -> Iterator[int]:
    powers = itertools.takewhile(lambda p: p <= _MOST, (_EVERY << k for k in itertools.count(1)))
    around = (power + more for power in powers for more in (-1, 0, 1))
    every = itertools.chain(range(first, _EVERY + 2), around)
    return itertools.takewhile(lambda count: count <= limit, every)


def _run(node: fx.Node, known: Mapping[fx.Node, Any]) -> Any:
    """What a call gives for known operands."""
    args: Any = fx.node.map_arg(node.args, known.__getitem__)
    kwargs: Any = fx.node.map_arg(node.kwargs, known.__getitem__)
    target: Any = node.target
    if node.op == "call_method":
        target, args = getattr(args[0], target), args[1:]
    return target(*args, **kwargs)


def _on_the_line(first: Any, second: Any, more: int) -> Any:
    """What a size that is linear in the number of images is for so many more."""
    if isinstance(first, tuple):
        sizes = (_on_the_line(a, b, more) for a, b in zip(first, second, strict=True))
        return torch.Size(sizes) if isinstance(first, torch.Size) else tuple(sizes)
    if first == second:
        return first
    return first + (second - first) * more
