"""Our neurons in networks of other libraries: what `replace_neurons` does, a file a library."""

from spikeconv.drop_in.replace import replace_neurons
from spikeconv.drop_in.report import ReplaceReport

__all__ = ["ReplaceReport", "replace_neurons"]
