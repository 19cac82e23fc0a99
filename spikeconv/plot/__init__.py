"""Pictures of what was measured, one kind a file; matplotlib is imported when one is drawn."""

from spikeconv.plot.accuracy import plot_accuracy
from spikeconv.plot.style import SUFFIXES, figure_class

__all__ = ["SUFFIXES", "figure_class", "plot_accuracy"]
