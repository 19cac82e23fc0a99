"""Correction = a bias for every step and channel (forward temporal bias, FTBC)."""

from __future__ import annotations

from torch import Tensor

from spikeconv.calibrate.sample import LayerSample
from spikeconv.neuron import IFNode

_PASSES = 8
_PACE = 0.5


def step_bias(node: IFNode, sample: LayerSample) -> IFNode:
    """b_t,c -= 1/2 E[theta * s_t,c - a_c], in eight passes: every step alone approaches the ANN.

    Args:
        node: the population as it stands.
        sample: what reaches it, and what the ANN has in its place.

    Source: Wu et al., "FTBC: Forward Temporal Bias Correction for Optimizing ANN-SNN Conversion",
    ECCV 2024.
    """
    bias = node.step_bias
    for _ in range(_PASSES):
        now = node if bias is None else node.replaced(step_bias=bias)
        total: Tensor | None = None
        neurons = 0
        for current, activation in sample.parts():
            psp, _ = now.run(current, emit="psp", return_v=None)
            error = (psp - activation).movedim(2, 1).flatten(2).sum(2)
            total = error if total is None else total + error
            neurons += activation[:, 0].numel()
        assert total is not None
        mean = (total / neurons).view(*total.shape, *[1] * (len(sample.shape) - 1))
        bias = -_PACE * mean if bias is None else bias - _PACE * mean
    return node.replaced(step_bias=bias)
