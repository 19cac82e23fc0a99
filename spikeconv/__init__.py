"""Trained ReLU networks to spiking networks that are accurate in few time-steps, and fast."""

from spikeconv.convert import ConversionError, SpikingNetwork, convert
from spikeconv.drop_in import replace_neurons
from spikeconv.files.load import load
from spikeconv.models.spiking import SpikingResNet, SpikingVGG
from spikeconv.neuron import IFNode
from spikeconv.nir_io.export import to_nir
from spikeconv.nir_io.load import from_nir
from spikeconv.ops import backends, if_multistep

__version__ = "0.1.0"

__all__ = [
    "ConversionError",
    "IFNode",
    "SpikingNetwork",
    "SpikingResNet",
    "SpikingVGG",
    "__version__",
    "backends",
    "convert",
    "from_nir",
    "if_multistep",
    "load",
    "replace_neurons",
    "to_nir",
]
