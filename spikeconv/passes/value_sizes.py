"""Which calls give tensors of a size that values decide, and which draw random numbers."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from spikeconv.passes.sizes import DRAWS

# The shape of what these give depends on values,
_VALUES_SHAPE = {"nonzero", "argwhere", "masked_select", "unique", "unique_consecutive"}
_VALUES_SHAPE |= {"bincount", "histc", "values", "indices", "crow_indices", "col_indices"}
# and of these, where such a value is an operand behind the first, or the only one.
_SIZED_BY_OPERANDS = {"narrow", "tensor_split", "repeat_interleave", "one_hot", "arange"}
_SIZED_BY_OPERANDS |= {"linspace", "full", "zeros", "ones", "empty", "expand", "repeat", "view"}
# What these give is another value at every call.
_DRAWN = {draw.__name__ for draw in DRAWS} | {"bernoulli", "multinomial", "normal", "poisson"}
_DRAWN |= {"rand_like", "randn_like", "randint_like", "bernoulli_", "uniform_", "normal_"}
_DRAWN |= {"random_", "exponential_", "cauchy_", "geometric_", "log_normal_"}


def called_name(node: fx.Node) -> str:
    """The name of what a node calls, or of the attribute that it asks for."""
    name = node.args[1] if node.target is getattr else node.target
    return str(getattr(name, "__name__", name))


def is_drawn(node: fx.Node) -> bool:
    """Whether a call draws random numbers."""
    return called_name(node) in _DRAWN


def is_sized_by_values(
    node: fx.Node, values: Mapping[fx.Node, tuple[Any, Any]], constants: Collection[fx.Node]
) -> bool:
    """Whether the size of what a call gives is decided by the values of its operands.

    Args:
        node: the call.
        values: of every node before it, for two examples.
        constants: the nodes that depend on no image.
    """
    name = called_name(node)
    if name in _VALUES_SHAPE or (name == "where" and len(node.args) + len(node.kwargs) == 1):
        return True
    operands: list[fx.Node] = []
    if node.target is operator.getitem:
        masks = (values[n][0] for n in node.all_input_nodes[1:])
        if any(isinstance(mask, Tensor) and mask.dtype == torch.bool for mask in masks):
            return True  # the elements for which it is true, so many there are
        index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
        fx.node.map_arg([part for part in index if isinstance(part, slice)], operands.append)
    elif name in _SIZED_BY_OPERANDS:
        behind = node.args[1:] if len(node.args) > 1 else node.args
        fx.node.map_arg((behind, node.kwargs), operands.append)
    return any(isinstance(values[n][0], Tensor) for n in operands if n not in constants)
