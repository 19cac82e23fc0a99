"""Threshold = the largest activation seen (data-based normalisation, Diehl et al. 2015)."""

from __future__ import annotations

from torch import Tensor

from spikeconv.calibrate.layer import Layer


def maximum(layer: Layer) -> Tensor:
    """theta_c = max a_c over the calibration data: nothing is clipped. float32 ``[C]``."""
    return layer.histogram.largest.clone()
