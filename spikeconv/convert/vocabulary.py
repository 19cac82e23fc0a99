"""What conversion understands besides rectifiers: what is linear in its signal, and max pools."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from spikeconv.convert.layers import Largest
from spikeconv.convert.structure import Fields
from spikeconv.convert.trace import called
from spikeconv.convert.tracer import computes_as

# Linear, and nothing at all where they give the dtype that they are given.
CASTS = frozenset({"to", "type", "type_as", "float", "double", "half", "bfloat16"})

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

LINEAR_MODULES = (
    *CONVOLUTIONS,
    *TRANSPOSED,
    *BATCH_NORMS,
    nn.Linear,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.Flatten,
    nn.Unflatten,
    nn.ConstantPad1d,
    nn.ConstantPad2d,
    nn.ConstantPad3d,
    nn.ReflectionPad1d,
    nn.ReflectionPad2d,
    nn.ReflectionPad3d,
    nn.ReplicationPad1d,
    nn.ReplicationPad2d,
    nn.ReplicationPad3d,
    nn.CircularPad1d,
    nn.CircularPad2d,
    nn.CircularPad3d,
    nn.Upsample,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ChannelShuffle,
    nn.Unfold,
    nn.Fold,
)

MAX_POOL_MODULES = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    Largest,
)
# Arguments of average pools behind their input, with their defaults.
AVERAGE_POOL_ARGUMENTS: dict[str, Any] = {
    "kernel_size": None,
    "stride": None,
    "padding": 0,
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
}

# torch.nn.functional's pools are dispatchers over return_indices; a trace records either form.
MAX_POOL_FUNCTIONS = frozenset(
    {torch.max_pool1d, torch.max_pool2d, torch.max_pool3d}
    | {F.max_pool1d, F.max_pool2d, F.max_pool3d}
    | {F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d}
)

INDEX_POOL_FUNCTIONS = frozenset(
    {F.max_pool1d_with_indices, F.max_pool2d_with_indices, F.max_pool3d_with_indices}
    | {F.adaptive_max_pool1d_with_indices, F.adaptive_max_pool2d_with_indices}
    | {F.adaptive_max_pool3d_with_indices}
)

# Elementwise in two operands, so a value without time may be broadcast over time.
ADDITIONS = (operator.add, torch.add, "add")
SUM_FUNCTIONS = frozenset({operator.add, operator.sub, torch.add, torch.sub, torch.subtract})
SUM_METHODS = frozenset({"add", "sub", "subtract"})
PRODUCT_FUNCTIONS = frozenset(
    {operator.mul, operator.truediv, torch.mul, torch.multiply, torch.div, torch.divide}
    | {torch.true_divide}
)
PRODUCT_METHODS = frozenset({"mul", "multiply", "div", "divide", "true_divide"})

# Linear in one operand where the others are weights.
CONTRACTION_FUNCTIONS = frozenset(
    {
        operator.matmul,
        torch.matmul,
        torch.mm,
        torch.bmm,
        torch.addmm,
        torch.baddbmm,
        torch.einsum,
        torch.tensordot,
        torch.conv1d,
        torch.conv2d,
        torch.conv3d,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
        F.linear,
    }
)
CONTRACTION_METHODS = frozenset({"matmul", "mm", "bmm", "addmm", "baddbmm"})

# Functions of torch that are methods of a tensor as well.
_BOTH = (
    *("neg", "negative", "mean", "sum", "cumsum", "flip", "roll", "tile", "repeat_interleave"),
    *("flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose", "swapaxes"),
    *("swapdims", "movedim", "moveaxis", "chunk", "split", "tensor_split", "unbind", "narrow"),
    *("select", "index_select"),
)
# Attributes of a tensor that are the same values in another order.
LINEAR_ATTRIBUTES = frozenset({"mT", "mH"})
# A choice between values by a mask, and where the mask stands.
CHOICES: dict[Callable[..., Any] | str, tuple[int, str]] = {
    torch.where: (0, "condition"),
    "where": (1, "condition"),
    torch.masked_fill: (1, "mask"),
    "masked_fill": (1, "mask"),
}
RESHAPE_METHODS = frozenset({"view", "reshape"})
LINEAR_METHODS = frozenset(
    {*_BOTH, "view_as", "reshape_as", "expand_as", "expand", "repeat", "unfold"}
)
LINEAR_FUNCTIONS = frozenset(
    {
        *(getattr(torch, name) for name in _BOTH),
        operator.neg,
        operator.getitem,
        torch.cat,
        torch.concat,
        torch.concatenate,
        torch.stack,
        torch.hstack,
        torch.dstack,
        torch.zeros_like,
        torch.channel_shuffle,
        F.avg_pool1d,
        F.avg_pool2d,
        F.avg_pool3d,
        F.adaptive_avg_pool1d,
        F.adaptive_avg_pool2d,
        F.adaptive_avg_pool3d,
        F.pad,
        F.interpolate,
        F.upsample,
        F.pixel_shuffle,
        F.pixel_unshuffle,
        F.unfold,
        F.fold,
    }
)

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
