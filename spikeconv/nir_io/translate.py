"""Which call of a spiking network becomes which node of NIR."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from spikeconv.network.layers import RESHAPES
from spikeconv.network.program import Step
from spikeconv.network.run_step import Layers
from spikeconv.network.vocabulary import ADDITIONS
from spikeconv.nir_io.arithmetic import negative, product, total
from spikeconv.nir_io.graph import Graph, Inexpressible, Value
from spikeconv.nir_io.layers import batch_norm, convolution, linear
from spikeconv.nir_io.pools import adaptive, average_call, average_layer, mean
from spikeconv.nir_io.selections import joined, padded_call, padded_layer, part
from spikeconv.nir_io.shapes import reshape

_LAYERS: dict[type[nn.Module], Callable[[Graph, Step, Any], Value]] = {
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.Linear: linear,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.AvgPool2d: average_layer,
    nn.AdaptiveAvgPool2d: adaptive,
    nn.Flatten: reshape,
    nn.Unflatten: reshape,
    nn.ConstantPad1d: padded_layer,
    nn.ConstantPad2d: padded_layer,
}

_CALLS: dict[Any, Callable[[Graph, Step], Value]] = {
    F.avg_pool2d: average_call,
    F.adaptive_avg_pool2d: adaptive,
    F.pad: padded_call,
    operator.getitem: part,
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), joined),
    **dict.fromkeys((torch.mean, "mean"), mean),
    **dict.fromkeys(RESHAPES, reshape),
    **dict.fromkeys((torch.flatten, torch.squeeze, torch.unsqueeze, torch.unflatten), reshape),
    **dict.fromkeys(("flatten", "squeeze", "unsqueeze", "unflatten", "view", "reshape"), reshape),
    **dict.fromkeys(ADDITIONS, total),
    **dict.fromkeys((operator.sub, torch.sub, torch.subtract, "sub", "subtract"), total),
    **dict.fromkeys((operator.mul, torch.mul, torch.multiply, "mul", "multiply"), product),
    **dict.fromkeys((operator.truediv, torch.div, torch.divide, torch.true_divide), product),
    **dict.fromkeys(("div", "divide", "true_divide"), product),
    **dict.fromkeys((operator.neg, torch.neg, torch.negative, "neg", "negative"), negative),
}


def translate(graph: Graph, step: Step, layers: Layers) -> Value:
    """The value of a call that is no neuron's.

    Raises:
        Inexpressible: NIR has no node for it.
    """
    if step.kind in ("module", "max_pool"):
        layer = layers[step.target]
        for kind, translator in _LAYERS.items():
            if isinstance(layer, kind):
                return translator(graph, step, layer)
        raise Inexpressible(f"NIR has no {type(layer).__name__}")
    call = _CALLS.get(step.target)
    if call is None:
        raise Inexpressible(f"NIR has no {getattr(step.target, '__name__', step.target)}")
    return call(graph, step)
