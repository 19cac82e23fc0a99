"""Functions with weights as layers: a layer can be folded, refitted, made integers and trained."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from spikeconv.passes import kinds
from spikeconv.passes.norms import OF_RANK, batch_norm
from spikeconv.passes.rewrite import first
from spikeconv.passes.sources import sources

_CONVOLUTIONS: dict[Any, Any] = {
    torch.conv1d: nn.Conv1d,
    torch.conv2d: nn.Conv2d,
    torch.conv3d: nn.Conv3d,
}
_TRANSPOSED: dict[Any, Any] = {
    torch.conv_transpose1d: nn.ConvTranspose1d,
    torch.conv_transpose2d: nn.ConvTranspose2d,
    torch.conv_transpose3d: nn.ConvTranspose3d,
}
_PRODUCTS = frozenset({operator.matmul, torch.matmul, torch.mm, "matmul", "mm"})
# Behind input, weight and bias, in the order of the functions.
_OPTIONS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
_TRANSPOSED_OPTIONS = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}


def as_layer(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The layer that computes what a function does with constant weights; None where none does.

    Constants may be computed: of a pruned layer, one with normalised weights or a mask, the weight
    is what its forward makes of its parameters.
    """
    if node.op == "call_module":
        return None
    if node.target in _PRODUCTS:
        weight = _constant(traced, kinds.argument(node, 1, "other"))
        weight = _constant(traced, node.kwargs.get("mat2")) if weight is None else weight
        if weight is None or weight.dim() != 2 or len(_shape(first(node))) < 2:
            return None
        return _linear(weight.T, None)
    if node.target is F.batch_norm:
        return _batch_norm(traced, node)
    if node.target not in (F.linear, *_CONVOLUTIONS, *_TRANSPOSED):
        return None
    given = [kinds.argument(node, *where) for where in ((1, "weight"), (2, "bias"))]
    weight, bias = (_constant(traced, value) for value in given)
    if weight is None or (given[1] is not None and (bias is None or bias.dim() != 1)):
        return None
    if node.target is F.linear:
        if weight.dim() != 2 or not _shape(first(node)):
            return None
        return _linear(weight, None if bias is None else bias.expand(len(weight)))
    transposed = node.target in _TRANSPOSED
    names = _TRANSPOSED_OPTIONS if transposed else _OPTIONS
    options = {
        name: _number(kinds.argument(node, position, name, default))
        for position, (name, default) in enumerate(names.items(), start=3)
    }
    if len(_shape(first(node))) != weight.dim() or not all(map(_is_plain, options.values())):
        return None
    groups = options["groups"]
    channels = (len(weight), weight.shape[1] * groups)
    kind = (_TRANSPOSED if transposed else _CONVOLUTIONS)[node.target]
    layer = nn.utils.skip_init(
        kind,
        *(channels if transposed else channels[::-1]),
        tuple(weight.shape[2:]),
        bias=bias is not None,
        **{name: _one_or_each(value) for name, value in options.items()},
    )
    return _with_weights(layer, weight, bias)


def _batch_norm(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    kind = OF_RANK.get(len(_shape(first(node))))
    names = ("running_mean", "running_var", "weight", "bias")
    given = [kinds.argument(node, place, name) for place, name in enumerate(names, start=1)]
    mean, var, weight, bias = (_constant(traced, value) for value in given)
    unknown = any(
        value is not None and found is None
        for value, found in zip(given[2:], (weight, bias), strict=True)
    )
    training = kinds.argument(node, 5, "training", False)
    eps = _number(kinds.argument(node, 7, "eps", 1e-5))
    if kind is None or mean is None or var is None or unknown or training:
        return None
    return batch_norm(kind, mean, var, weight, bias, eps)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer = nn.utils.skip_init(nn.Linear, *reversed(weight.shape), bias=bias is not None)
    return _with_weights(layer, weight, bias)


def _with_weights(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            copy = value.detach().clone(memory_format=torch.contiguous_format)
            setattr(layer, name, nn.Parameter(copy, requires_grad=False))
    return layer.eval()


def _constant(traced: fx.GraphModule, value: object) -> Tensor | None:
    """The tensor that a node stands for, where it depends on no image."""
    if not isinstance(value, fx.Node) or not value.meta.get("constant"):
        return None
    run = fx.Interpreter(traced)
    known: dict[fx.Node, Any] = {}
    for node in sources(value):
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
        known[node] = getattr(run, node.op)(node.target, args, kwargs)
    found = known[value]
    return found if isinstance(found, Tensor) else None


def _shape(value: object) -> tuple[int, ...]:
    """Of a signal; () of anything else."""
    if not isinstance(value, fx.Node) or value.meta.get("constant"):
        return ()
    return tuple(value.meta.get("shape", ()))


def _number(value: Any) -> Any:
    """An option; one that was computed from constants is the number that it is."""
    return value.meta.get("number", value) if isinstance(value, fx.Node) else value


def _is_plain(value: object) -> bool:
    """Whether an option is what a layer takes: numbers, or the name of a padding."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, int | str)


def _one_or_each(value: Any) -> Any:
    """A number for all dimensions, or a tuple of one for each."""
    if isinstance(value, list | tuple):
        return value[0] if len(value) == 1 else tuple(value)
    return value
