"""Threshold = a high percentile of activations (robust norm, Rueckauer et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeconv.calibrate.histogram import BINS
from spikeconv.calibrate.layer import Layer


def percentile(layer: Layer) -> Tensor:
    """theta_c = the `percent`-th percentile of a_c = max(z_c, 0), zeros counted. float32 ``[C]``.

    Linear inside a histogram bin, so within one bin width (less than 0.1 % of the largest value)
    of the sample percentile. 0 where that many activations are 0.
    """
    histogram = layer.histogram
    rank = histogram.seen.double() * layer.percent / 100
    # 99.9 % of 1000 are 999, and with them the one below the largest, however a float has it.
    whole = rank.round()
    rank = torch.where((rank - whole).abs() < 1e-6, whole, rank)
    zeros = histogram.seen - histogram.counts.sum(1)
    below = histogram.counts.cumsum(1).double() + zeros.unsqueeze(1)
    at = (below < rank.unsqueeze(1)).sum(1).clamp(max=BINS - 1)
    inside = histogram.counts.gather(1, at.unsqueeze(1)).squeeze(1).double()
    before = below.gather(1, at.unsqueeze(1)).squeeze(1) - inside
    part = ((rank - before) / inside.clamp(min=1)).clamp(0, 1)
    value = (at + part) * histogram.width().double()
    value = torch.where(rank <= zeros, 0.0, value).float()
    return torch.minimum(value, histogram.largest)
