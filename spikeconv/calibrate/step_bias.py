"""Correction = a bias for every step and channel (forward temporal bias, FTBC)."""

from __future__ import annotations

import torch

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
    activation = sample.activation
    shape = (-1, *[1] * (activation.dim() - 2))
    wanted = activation.movedim(1, 0).flatten(1).mean(1)
    bias = torch.zeros(sample.T, *wanted.view(shape).shape, device=activation.device)
    if node.step_bias is not None:
        bias = bias + node.step_bias
    for _ in range(_PASSES):
        psp, _ = node.replaced(step_bias=bias).run(sample.current, emit="psp", return_v=None)
        given = psp.movedim(2, 1).flatten(2).mean(2)
        bias = bias - _PACE * (given - wanted).view_as(bias)
    return node.replaced(step_bias=bias)
