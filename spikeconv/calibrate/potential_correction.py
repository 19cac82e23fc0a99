"""Correction = the mean error as initial potential (SNN Calibration, advanced pipeline)."""

from __future__ import annotations

from spikeconv.calibrate.sample import LayerSample, per_channel
from spikeconv.neuron import IFNode


def neuron_potential(node: IFNode, sample: LayerSample) -> IFNode:
    """v_i(0) += T * (E[a_i] - E[theta * count_i / T]) for every neuron i, the mean over images.

    A neuron that fires too seldom on average starts with the charge that it lacks in T steps.

    Args:
        node: the population as it stands.
        sample: what reaches it, and what the ANN has in its place.

    Source: Li et al., "A Free Lunch From ANN: Towards Efficient, Accurate Spiking Neural Networks
    Calibration", ICML 2021, section 4.2.
    """
    return node.replaced(v_init=node.v_init - sample.T * sample.error(node))


def channel_potential(node: IFNode, sample: LayerSample) -> IFNode:
    """`neuron_potential` with one value a channel, the mean over space as well."""
    missing = -per_channel(sample.error(node))
    return node.replaced(v_init=node.v_init + sample.T * missing)
