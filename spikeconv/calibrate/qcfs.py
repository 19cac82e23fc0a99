"""Threshold = the bound of the quantised activation that the network was trained with (QCFS)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spikeconv.calibrate.layer import Layer


def qcfs(layer: Layer) -> Tensor:
    """theta = lambda, of a = lambda / L * floor(clip(z / lambda, 0, 1) * L + 1/2). float32 ``[C]``.

    A neuron with this theta, from theta / 2, says in T = L steps of a constant current what the
    activation says, and for any T and L its mean error is 0. There is one lambda for the layer, so
    it is every channel's threshold, also of one that was never active.

    Raises:
        ValueError: the activation has no trained step.

    Source: Bu et al., "Optimal ANN-SNN Conversion for High-accuracy and Ultra-low-latency Spiking
    Neural Networks", ICLR 2022, theorems 1 and 2.
    """
    if not layer.levels or math.isinf(layer.cap):
        raise ValueError(
            "convert: threshold='qcfs' takes the bound of every activation's trained step, but "
            f"{layer.label!r} has none; train with spikeconv.activation.QCFS, or choose 'tcl' for "
            "a clip bound, or a threshold that calibration sets, such as 'mse'"
        )
    return torch.full_like(layer.histogram.largest, layer.cap)
