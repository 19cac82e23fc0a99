"""Where a value is something, and where it is a zero that a padding has put there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.network import vocabulary
from spikeconv.network.layers import RESHAPES
from spikeconv.network.program import Ref, Step, fill, refs
from spikeconv.network.run_step import Layers, run_step
from spikeconv.network.structure import map_tensors

_MOVES = vocabulary.LINEAR_FUNCTIONS | vocabulary.LINEAR_METHODS | vocabulary.RESHAPE_METHODS
_MOVES |= vocabulary.CASTS | {*RESHAPES, getattr}
# Of LINEAR_MODULES those that make something of zeros, by their weights or by what they add.
_FILLING = (nn.Linear, *vocabulary.CONVOLUTIONS, *vocabulary.TRANSPOSED, *vocabulary.BATCH_NORMS)


def present(
    step: Step, layers: Layers, known: Mapping[str, Any], values: Mapping[str, Any], value: Any
) -> Any:
    """1 at each place of what a call gives, but 0 where that is 0 for every image; in float64.

    So it is where zeros were made, such as those of a padding, and where what only moves or joins
    values (a reshape, a pool, a sum, a ReLU) has brought no more than such zeros. Whatever else
    gives a value is taken to give one everywhere.

    Args:
        step: the call.
        layers: holds its layer, if it calls one.
        known: the same of the signals that it reads.
        values: all that it reads.
        value: what it gives: a tensor, or tuples of tensors.
    """
    names = [ref.name for ref in refs((step.args, step.kwargs))]
    if _target(step, layers) in vocabulary.LIKE or not any(name in known for name in names):
        return map_tensors(lambda x: (x != 0).double(), value)
    brought = _brought(step, layers, known, values)
    if brought is None:
        return map_tensors(all_ones, value)

    def each(x: Tensor, given: Tensor) -> Tensor:  # what is no float may be indices
        return (x != 0).double().expand_as(given) if given.is_floating_point() else all_ones(given)

    return map_tensors(each, brought, value)


def _brought(
    step: Step, layers: Layers, known: Mapping[str, Any], values: Mapping[str, Any]
) -> Any:
    """Other than 0 where a call brings something; None of a call that may make something of 0."""
    if step.kind == "neuron":
        return known[step.args[0].name]
    target = _target(step, layers)
    if target in vocabulary.SUM_CALLS or target in vocabulary.PRODUCT_CALLS:
        operands = [*step.args, *(step.kwargs[n] for n in ("input", "other") if n in step.kwargs)]
        if target in vocabulary.SUM_CALLS:  # Python's sum() begins with 0
            operands = [x for x in operands if not (isinstance(x, int | float) and x == 0)]
        signals = [known[x.name] for x in operands if isinstance(x, Ref) and x.name in known]
        if target in vocabulary.PRODUCT_CALLS:
            return math.prod(signals)
        return sum(signals) if len(signals) == len(operands) else None
    moves = isinstance(target, vocabulary.LINEAR_MODULES) and not isinstance(target, _FILLING)
    if step.kind != "max_pool" and not moves and target not in _MOVES:
        return None

    def read(name: str) -> Any:
        def own(x: Tensor, there: Tensor) -> Tensor:
            return there if x.is_floating_point() else x  # a mask or an index stays

        value = values[name]
        there = known[name] if name in known else map_tensors(lambda x: (x != 0).double(), value)
        return map_tensors(own, value, there)

    return run_step(step, layers, fill(step.args, read), fill(step.kwargs, read))


def _target(step: Step, layers: Layers) -> Any:
    """What a call calls."""
    return step.target if step.kind in ("function", "method") else layers[step.target]


def all_ones(x: Tensor) -> Tensor:
    """1 in every place, in float64."""
    return torch.ones_like(x, dtype=torch.float64)
