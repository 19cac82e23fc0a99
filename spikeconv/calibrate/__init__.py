"""Calibration: streams of images to statistics of currents to thresholds. One method a file."""

from spikeconv.calibrate.batches import Batches, Calibration
from spikeconv.calibrate.histogram import ChannelHistogram
from spikeconv.calibrate.inputs import Inputs
from spikeconv.calibrate.potential import initial_potential
from spikeconv.calibrate.threshold import THRESHOLDS, thresholds

__all__ = [
    "THRESHOLDS",
    "Batches",
    "Calibration",
    "ChannelHistogram",
    "Inputs",
    "initial_potential",
    "thresholds",
]
