"""Trained ReLU networks to spiking networks that are accurate in few time-steps, and fast."""

from spikeconv.convert import ConversionError, SpikingNetwork, convert
from spikeconv.drop_in import replace_neurons
from spikeconv.models.spiking import SpikingResNet, SpikingVGG
from spikeconv.neuron import IFNode
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
    "if_multistep",
    "replace_neurons",
]
