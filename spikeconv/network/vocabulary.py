"""What calls of a program may be besides neurons: what is linear in its signal, and max pools."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from spikeconv.network.layers import Largest

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
SUM_CALLS = SUM_FUNCTIONS | SUM_METHODS
PRODUCT_CALLS = PRODUCT_FUNCTIONS | PRODUCT_METHODS

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

# Calls that make a tensor after the pattern of another, of which they read no value.
LIKE_IN_KIND = frozenset({"new_zeros", "new_ones", "new_full", "new_tensor"})
LIKE_IN_SIZE = frozenset({torch.zeros_like, torch.ones_like, torch.full_like})
LIKE = LIKE_IN_KIND | LIKE_IN_SIZE
