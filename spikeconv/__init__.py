"""Trained ReLU networks to spiking networks that are accurate in few time-steps, and fast."""

from spikeconv.neuron import IFNode
from spikeconv.ops import backends, if_multistep

__version__ = "0.1.0"

__all__ = [
    "IFNode",
    "__version__",
    "backends",
    "if_multistep",
]
