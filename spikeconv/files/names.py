"""What a description may call: functions, methods and attributes by their names, and no others.

All of them compute a value from values. None opens a file, runs code, or changes what is not its
own operand. A name that is missing here can be added if that is true of it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from spikeconv.network import vocabulary
from spikeconv.network.layers import (
    reshape_like,
    reshape_samples,
    same_decision,
    squeeze_samples,
)

# Of one value or two, value by value; most are methods of a tensor as well.
_ELEMENTWISE = """
    abs absolute acos acosh add addcdiv addcmul arccos arccosh arcsin arcsinh arctan arctan2
    arctanh asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or
    bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min clip copysign cos cosh
    deg2rad digamma div divide eq erf erfc erfinv exp exp2 expm1 fix float_power floor
    floor_divide fmax fmin fmod frac ge greater greater_equal gt heaviside hypot isclose
    isfinite isinf isnan isneginf isposinf isreal ldexp le lerp less less_equal lgamma log log10
    log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt
    masked_fill maximum minimum mul multiply nan_to_num ne neg negative nextafter not_equal
    positive pow prelu rad2deg reciprocal relu remainder round rsqrt sgn sigmoid sign signbit
    sin sinc sinh sqrt square sub subtract tan tanh true_divide trunc where xlogy
"""
# Over dimensions, or from one shape to another; likewise.
_ALONG = """
    adjoint all amax amin aminmax any argmax argmin argsort broadcast_to chunk conj
    count_nonzero cross cummax cummin cumprod cumsum detach diag diag_embed diagflat diagonal
    diff dot flatten flip fliplr flipud gather index_add index_copy index_fill index_select
    inner is_complex is_floating_point kthvalue logcumsumexp log_softmax logsumexp matmul max
    mean median min mm mode moveaxis movedim msort mv nanmean nanmedian nansum narrow norm numel
    outer permute prod quantile ravel renorm repeat_interleave reshape roll rot90 scatter
    scatter_add select softmax sort split squeeze std sum swapaxes swapdims t take
    take_along_dim tensor_split tile topk trace transpose tril triu unbind unflatten unsqueeze
    var
"""
_TORCH = """
    _assert addbmm addmm addmv addr arange atleast_1d atleast_2d atleast_3d avg_pool1d
    adaptive_avg_pool1d baddbmm batch_norm bilinear block_diag bmm broadcast_tensors bucketize
    cat cdist celu channel_shuffle clone column_stack concat concatenate constant_pad_nd conv1d
    conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity dstack
    einsum embedding eye full full_like group_norm hardshrink hstack instance_norm kron
    layer_norm linspace logspace max_pool1d max_pool2d max_pool3d max_pool1d_with_indices
    meshgrid ones ones_like pairwise_distance pixel_shuffle pixel_unshuffle rms_norm selu
    softmax stack std_mean tensor tensordot threshold var_mean vstack zeros zeros_like
"""
_FUNCTIONAL = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool1d_with_indices adaptive_max_pool2d adaptive_max_pool2d_with_indices
    adaptive_max_pool3d adaptive_max_pool3d_with_indices affine_grid avg_pool1d avg_pool2d
    avg_pool3d batch_norm bilinear celu conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d cosine_similarity elu embedding fold gelu glu grid_sample group_norm
    hardshrink hardsigmoid hardswish hardtanh instance_norm interpolate layer_norm leaky_relu
    linear local_response_norm log_softmax logsigmoid lp_pool1d lp_pool2d lp_pool3d max_pool1d
    max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices max_unpool1d max_unpool2d max_unpool3d mish
    multi_head_attention_forward native_channel_shuffle normalize one_hot pad pairwise_distance
    pixel_shuffle pixel_unshuffle prelu relu relu6 rms_norm scaled_dot_product_attention selu
    sigmoid silu softmax softmin softplus softshrink softsign tanh tanhshrink threshold unfold
    upsample
"""
_OPERATOR = """
    abs add and_ eq floordiv ge getitem gt inv invert le lshift lt matmul mod mul ne neg not_
    or_ pos pow rshift sub truediv truth xor
"""
_MATH = "ceil floor sqrt trunc"
_METHODS_ONLY = """
    addmm baddbmm bfloat16 bmm bool clone contiguous dim double element_size expand
    expand_as float half int long ndimension nelement new_full new_ones new_zeros repeat
    reshape_as size stride to type type_as view view_as
"""
_IN_PLACE = """
    abs add ceil clamp clamp_max clamp_min clip cos div erf exp expm1 floor log log1p logit
    masked_fill mul neg pow reciprocal relu round rsqrt sigmoid sin sqrt square sub tanh trunc
"""

_TENSORS = [*_ELEMENTWISE.split(), *_ALONG.split(), *(f"{name}_" for name in _IN_PLACE.split())]
_NAMESPACES: dict[str, tuple[Any, list[str]]] = {
    "math": (math, _MATH.split()),
    "operator": (operator, _OPERATOR.split()),
    "torch": (torch, [*_TENSORS, *_TORCH.split()]),
    "torch.nn.functional": (F, _FUNCTIONAL.split()),
}

# Functions by the names that stand in a file. Older torch has not all of them.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "getattr": getattr,
    "spikeconv.reshape_like": reshape_like,
    "spikeconv.reshape_samples": reshape_samples,
    "spikeconv.same_decision": same_decision,
    "spikeconv.squeeze_samples": squeeze_samples,
    "len": len,
    **{
        f"{space}.{name}": getattr(module, name)
        for space, (module, names) in _NAMESPACES.items()
        for name in names
        if hasattr(module, name)
    },
}
NAMES: dict[Callable[..., Any], str] = {
    function: name for name, function in reversed(FUNCTIONS.items())
}

METHODS = frozenset({*_TENSORS, *_METHODS_ONLY.split(), *vocabulary.LINEAR_METHODS})

# What may be read of a tensor, or of a tuple with names as torch gives them.
ATTRIBUTES = frozenset(
    {"shape", "ndim", "dtype", "device", "layout", "itemsize", "nbytes", "is_cuda", "is_sparse"}
    | {"is_quantized", "requires_grad", "T", "mT", "H", "mH", "real", "imag", "values", "indices"}
)
