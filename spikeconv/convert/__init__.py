"""Conversion: a trained ReLU network to a spiking network, in three passes that read alone."""

from spikeconv.calibrate import Calibration
from spikeconv.convert.convert import convert, convert_as
from spikeconv.convert.errors import ConversionError, Problem
from spikeconv.convert.naive import NaiveSimulation
from spikeconv.convert.network import SpikingNetwork

__all__ = [
    "Calibration",
    "ConversionError",
    "NaiveSimulation",
    "Problem",
    "SpikingNetwork",
    "convert",
    "convert_as",
]
