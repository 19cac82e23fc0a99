"""Calibration: streams of images to statistics of currents to thresholds. One method a file."""

from spikeconv.calibrate.batches import Batches, Calibration
from spikeconv.calibrate.histogram import ChannelHistogram
from spikeconv.calibrate.inputs import Inputs
from spikeconv.calibrate.potential import INITIAL_POTENTIALS, draw_potential, initial_potential
from spikeconv.calibrate.threshold import THRESHOLDS, thresholds

__all__ = [
    "INITIAL_POTENTIALS",
    "THRESHOLDS",
    "Batches",
    "Calibration",
    "ChannelHistogram",
    "Inputs",
    "draw_potential",
    "initial_potential",
    "thresholds",
]
