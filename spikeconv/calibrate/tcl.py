"""Threshold = the clip bound that the network was trained with (TCL, Ho and Chang 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spikeconv.calibrate.layer import Layer


def tcl(layer: Layer) -> Tensor:
    """theta = bound, of an activation a = min(max(z, 0), bound). float32 ``[C]``.

    The bound is `spikeconv.activation.Clip`'s, trained, or a fixed one, such as ReLU6 has. There is
    one for the layer, so it is every channel's threshold, also of one that was never active.

    Raises:
        ValueError: the activation has no bound.

    Source: Ho, Chang, "TCL: an ANN-to-SNN Conversion with Trainable Clipping Layers", DAC 2021.
    """
    if math.isinf(layer.cap):
        raise ValueError(
            "convert: threshold='tcl' takes the clip bound of every activation, but "
            f"{layer.label!r} has none; train with spikeconv.activation.Clip, or choose a "
            "threshold that calibration sets, such as 'mse'"
        )
    return torch.full_like(layer.histogram.largest, layer.cap)
