"""For which numbers of images a forward goes another way than for two.

What is asked of a batch's size is arithmetic on numbers that are linear in the number of images,
such as ``x.shape[0]`` and ``x.numel()``. Two examples give the line, and the arithmetic is done
again for every number that a batch is likely to have.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx

from spikeconv.convert.structure import holds_tensors

Examples = tuple[Any, Any]
"""A value for two images, and for three."""

# Every number up to the first, then what programs ask for; batches have no more values together.
_EVERY, _MOST, _VALUES = 1024, 2**20, 2**27


def first_other(node: fx.Node, examples: Mapping[fx.Node, Examples], values: int) -> Iterator[int]:
    """The smallest number of images above two for which a number is another one, if there is one.

    Args:
        node: gives the number, the same for two images and for three.
        examples: the values of all nodes before it.
        values: of one image.
    """
    limit = max(3, _VALUES // max(1, values))
    for count in itertools.takewhile(lambda count: count <= limit, _counts()):
        known: dict[fx.Node, Any] = {}
        try:
            same = _value(node, examples, count, known) == examples[node][0]
        except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError):
            same = False
        if not same:
            yield count
            return


def _counts() -> Iterator[int]:
    yield from range(4, _EVERY + 1)
    power = 2 * _EVERY
    while power <= _MOST:
        yield from (power - 1, power, power + 1)
        power *= 2


def _value(
    node: fx.Node, examples: Mapping[fx.Node, Examples], count: int, known: dict[fx.Node, Any]
) -> Any:
    """A node's value for so many images."""
    if node not in known:
        first, second = examples[node]
        inputs = node.all_input_nodes
        if not inputs or any(holds_tensors(examples[each][0]) for each in inputs):
            known[node] = _on_the_line(first, second, count)
        else:

            def value(each: fx.Node) -> Any:
                return _value(each, examples, count, known)

            args: Any = fx.node.map_arg(node.args, value)
            kwargs: Any = fx.node.map_arg(node.kwargs, value)
            target: Any = node.target
            if node.op == "call_method":
                target, args = getattr(args[0], target), args[1:]
            known[node] = target(*args, **kwargs)
    return known[node]


def _on_the_line(first: Any, second: Any, count: int) -> Any:
    """What a size that is linear in the number of images is for so many."""
    if isinstance(first, tuple):
        sizes = (_on_the_line(a, b, count) for a, b in zip(first, second, strict=True))
        return torch.Size(sizes) if isinstance(first, torch.Size) else tuple(sizes)
    if first == second:
        return first
    return first + (second - first) * (count - 2)
