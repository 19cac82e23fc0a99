"""Correction = the shift theta / 2T at every step (RTS, Deng and Gu, ICLR 2021)."""

from __future__ import annotations

from spikeconv.calibrate.sample import LayerSample
from spikeconv.neuron import IFNode


def rts(node: IFNode, sample: LayerSample) -> IFNode:
    """b = theta / (2 T): the charge of v(0) = theta / 2, but spread over all T steps.

    Meant to be combined with v_init = 0; it comes late where v(0) = theta / 2 is there at once.

    Args:
        node: the population as it stands.
        sample: only its T is used.

    Source: Deng, Gu, "Optimal Conversion of Conventional Artificial Neural Networks to Spiking
    Neural Networks", ICLR 2021.
    """
    shift = node.v_threshold / (2 * sample.T)
    return node.replaced(bias=shift if node.bias is None else node.bias + shift)
