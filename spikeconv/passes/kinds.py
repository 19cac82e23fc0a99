"""What a node of a graph is: linear, a sum, a product, a max pool; and what writes in place."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from spikeconv.network.structure import Fields
from spikeconv.network.subclasses import computes_as
from spikeconv.network.vocabulary import (
    BATCH_NORMS,
    CASTS,
    CONTRACTION_FUNCTIONS,
    CONTRACTION_METHODS,
    INDEX_POOL_FUNCTIONS,
    LINEAR_ATTRIBUTES,
    LINEAR_FUNCTIONS,
    LINEAR_METHODS,
    LINEAR_MODULES,
    MAX_POOL_FUNCTIONS,
    MAX_POOL_MODULES,
    PRODUCT_FUNCTIONS,
    PRODUCT_METHODS,
    RESHAPE_METHODS,
    SUM_FUNCTIONS,
    SUM_METHODS,
)
from spikeconv.passes.trace import called

# A call that writes into its first operand, and the call that gives the same without writing.
IN_PLACE: dict[Callable[..., Any] | str, Callable[..., Any] | str] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    F.relu_: F.relu,
    torch.relu_: torch.relu,
    F.hardtanh_: F.hardtanh,
    torch.clamp_: torch.clamp,
    torch.clamp_min_: torch.clamp_min,
    torch.threshold_: F.threshold,
    "relu_": "relu",
    "clamp_": "clamp",
    "clip_": "clip",
    "clamp_min_": "clamp_min",
    "add_": "add",
    "sub_": "sub",
    "mul_": "mul",
    "div_": "div",
    F.leaky_relu_: F.leaky_relu,
    torch.clamp_max_: torch.clamp_max,
    "leaky_relu_": "leaky_relu",
    "clamp_max_": "clamp_max",
    "masked_fill_": "masked_fill",
    "squeeze_": "squeeze",
    "unsqueeze_": "unsqueeze",
}


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """An argument given by position or by name."""
    if position < len(node.args):
        return node.args[position]
    return node.kwargs.get(name, default)


def is_max_pool(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether the call is max pooling of any spelling."""
    target = called(node, modules)
    functions = MAX_POOL_FUNCTIONS | INDEX_POOL_FUNCTIONS
    return isinstance(target, MAX_POOL_MODULES) or target in functions


def returns_indices(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a max pool also returns where its maxima lie."""
    target = called(node, modules)
    return target in INDEX_POOL_FUNCTIONS or bool(getattr(target, "return_indices", False))


def is_sum(node: fx.Node) -> bool:
    """Whether the call adds or subtracts elementwise."""
    return node.target in (SUM_METHODS if node.op == "call_method" else SUM_FUNCTIONS)


def is_product(node: fx.Node) -> bool:
    """Whether the call multiplies or divides elementwise."""
    return node.target in (PRODUCT_METHODS if node.op == "call_method" else PRODUCT_FUNCTIONS)


def is_contraction(node: fx.Node) -> bool:
    """Whether the call is a product of matrices, or a layer whose weights are operands."""
    return node.target in (
        CONTRACTION_METHODS if node.op == "call_method" else CONTRACTION_FUNCTIONS
    )


def puts_together(node: fx.Node) -> bool:
    """Whether the call only makes a named tuple or a dataclass of its values."""
    is_tuple = isinstance(node.target, type) and hasattr(node.target, "_fields")
    return is_tuple or isinstance(node.target, Fields)


def is_batch_norm(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether the call is batch norm, with running statistics or with those of the batch."""
    target = called(node, modules)
    return isinstance(target, BATCH_NORMS) or target is F.batch_norm


def rolls_all(node: fx.Node) -> bool:
    """Whether the call is a roll of all values in a row, from one image into the next."""
    return node.target in (torch.roll, "roll") and not argument(node, 2, "dims")


def cuts_batch(node: fx.Node) -> bool:
    """Whether the call takes so many images, or so many at a time; two of them may be all."""
    if node.op == "call_function" and node.target is operator.getitem:
        source, index = node.args
        if isinstance(index, tuple):
            index = next(iter(index), None)
        if not isinstance(source, fx.Node) or not source.meta.get("shape"):
            return False
        return isinstance(index, slice) and (
            isinstance(index.stop, int) or (isinstance(index.start, int) and index.start < 0)
        )
    if node.target != ("split" if node.op == "call_method" else torch.split):
        return False
    source, dim = argument(node, 0, "tensor"), argument(node, 2, "dim", 0)
    sizes = source.meta.get("shape", ()) if isinstance(source, fx.Node) else ()
    return isinstance(dim, int) and dim in (0, -len(sizes))


def is_reshape(node: fx.Node) -> bool:
    """Whether the call gives its operand other sizes."""
    if node.op == "call_method":
        return node.target in RESHAPE_METHODS
    return node.target is torch.reshape


def is_linear(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether the call is affine in its one signal operand, each image for itself."""
    target = called(node, modules)
    if isinstance(target, nn.Module):
        if isinstance(target, BATCH_NORMS) and target.running_mean is None:
            return False
        # Of a subclass only that which computes the same, not a convolution with a ReLU inside.
        return computes_as(target, *LINEAR_MODULES)
    if target is getattr:
        return node.args[1] in LINEAR_ATTRIBUTES
    if target is F.batch_norm:
        return not argument(node, 5, "training", False)
    if node.op == "call_method":
        dtype = node.meta.get("dtype")
        return target in LINEAR_METHODS or (
            target in CASTS and dtype is not None and dtype.is_floating_point
        )
    return target in LINEAR_FUNCTIONS
