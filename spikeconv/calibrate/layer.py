"""What calibration knows of one layer when it sets the layer's thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spikeconv.calibrate.histogram import ChannelHistogram


@dataclass(frozen=True)
class Layer:
    """One layer of neurons to be: what every threshold method is given, to take what it needs.

    Attributes:
        histogram: the layer's currents, cut at the cap; of one channel where one threshold is
            wanted for the layer.
        T: time-steps >= 1 that thresholds are set for.
        start: initial potential in units of theta; of a random one its mean.
        percent: for the percentile, above 0, at most 100.
        cap: upper bound of the network's own activation, above 0; infinite for a ReLU.
        levels: values above 0 that the activation can have, for one with a trained step; else None.
        label: what a reader of the network calls the layer.
    """

    histogram: ChannelHistogram
    T: int
    start: float = 0.5
    percent: float = 99.9
    cap: float = math.inf
    levels: int | None = None
    label: str = ""
