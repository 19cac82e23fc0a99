"""Conversion: a trained ReLU network and calibration data in, a spiking network out."""

from spikeconv.calibrate import Calibration
from spikeconv.convert.convert import convert, convert_as
from spikeconv.network import NaiveSimulation, SpikingNetwork
from spikeconv.passes import ConversionError, Problem

__all__ = [
    "Calibration",
    "ConversionError",
    "NaiveSimulation",
    "Problem",
    "SpikingNetwork",
    "convert",
    "convert_as",
]
