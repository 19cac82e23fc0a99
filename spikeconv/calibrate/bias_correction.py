"""Correction = the mean error of each channel as bias (SNN Calibration, light pipeline)."""

from __future__ import annotations

from spikeconv.calibrate.sample import LayerSample, per_channel
from spikeconv.neuron import IFNode


def bias_correction(node: IFNode, sample: LayerSample) -> IFNode:
    """b_c += E[a_c] - E[theta * count_c / T], the mean over images and space.

    Args:
        node: the population as it stands.
        sample: what reaches it, and what the ANN has in its place.

    Source: Li et al., "A Free Lunch From ANN: Towards Efficient, Accurate Spiking Neural Networks
    Calibration", ICML 2021, section 4.1.
    """
    missing = -per_channel(sample.error(node))
    return node.replaced(bias=missing if node.bias is None else node.bias + missing)
