"""The spiking network: a program of calls with its layers and neurons, run, counted and written."""

from spikeconv.network.naive import NaiveSimulation
from spikeconv.network.network import SpikingNetwork

__all__ = ["NaiveSimulation", "SpikingNetwork"]
