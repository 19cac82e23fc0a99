"""A layer as the threshold methods are given it, made from currents."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spikeconv.calibrate import ChannelHistogram
from spikeconv.calibrate.layer import Layer


def layer(currents: Tensor, *, T: int = 4, **options: Any) -> Layer:
    """Of currents `[B]`, one channel, or `[B, C]`."""
    currents = currents.unsqueeze(1) if currents.dim() == 1 else currents
    histogram = ChannelHistogram(currents.shape[1])
    histogram.update(currents.float())
    return Layer(histogram, T, **options)
