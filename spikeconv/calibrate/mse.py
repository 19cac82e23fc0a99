"""Threshold = the least mean square error of T steps of the neuron (MMSE, Li et al., ICML 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeconv.calibrate.histogram import BINS
from spikeconv.calibrate.layer import Layer

# The error is smooth at the scale of a bin, so a quarter of the histogram's bins and a coarse grid
# that is refined once around its best point find the minimum to about a percent of theta.
_BINS = BINS // 4
_COARSE, _FINE = 40, 20
_AT_ONCE = 2**24


def mse(layer: Layer) -> Tensor:
    """theta_c = argmin E[(q(z) - z)^2 | z > 0] over the calibration data. float32 ``[C]``.

    q(z) = theta / T * clip(floor(z T / theta + start), 0, T) is the mean output of a neuron with
    v_init = start * theta under a constant current z (Bu et al. 2022, eq. 12).
    """
    histogram = layer.histogram
    weights = histogram.counts.view(-1, _BINS, BINS // _BINS).sum(2).float()
    # In units of a power of two near the largest value, so that no square leaves float32.
    unit = _power_of_two_below(histogram.largest)
    centres = histogram.centres().view(-1, _BINS, BINS // _BINS).mean(2) / unit.unsqueeze(1)
    channels = max(1, _AT_ONCE // (_BINS * _COARSE))
    parts = [
        _search(weights[i : i + channels], centres[i : i + channels], largest, layer.T, layer.start)
        for i, largest in zip(
            range(0, len(weights), channels),
            (histogram.largest / unit).split(channels),
            strict=True,
        )
    ]
    return torch.cat(parts) * unit


def _power_of_two_below(values: Tensor) -> Tensor:
    """The largest power of two that is not above each, or 1 for 0."""
    half = values.frexp().mantissa
    return torch.where(values > 0, values / (2 * half), 1)


def _search(weights: Tensor, centres: Tensor, largest: Tensor, T: int, start: float) -> Tensor:
    """The best threshold of some channels: a grid over (0, largest], then one around its best."""
    device, dtype = largest.device, largest.dtype
    grid = torch.arange(1, _COARSE + 1, device=device, dtype=dtype) / _COARSE
    fractions = grid.expand(len(largest), -1)
    best = _best(weights, centres, largest, fractions, T, start)
    around = torch.linspace(-1, 1, _FINE + 1, device=device, dtype=dtype) / _COARSE
    fractions = (best.unsqueeze(1) + around).clamp(0.2 / _COARSE, 1.0)
    return _best(weights, centres, largest, fractions, T, start) * largest


def _best(
    weights: Tensor, centres: Tensor, largest: Tensor, fractions: Tensor, T: int, start: float
) -> Tensor:
    """Of the candidate fractions of `largest` ``[C, G]``, the best per channel ``[C]``."""
    theta = (fractions * largest.unsqueeze(1)).clamp(min=torch.finfo(torch.float32).tiny)
    step = (theta / T).unsqueeze(2)
    z = centres.unsqueeze(1)
    q = step * (z / step + start).floor_().clamp_(0, T)
    error = ((q - z).square_() * weights.unsqueeze(1)).sum(2)
    return fractions.gather(1, error.argmin(1, keepdim=True)).squeeze(1)
