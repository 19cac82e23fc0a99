"""Processes that work together, as torchrun starts them: train and evaluate share this."""

from spikeconv.processes.group import ALONE, Processes, processes
from spikeconv.processes.pulse import ProcessLost

__all__ = ["ALONE", "ProcessLost", "Processes", "processes"]
