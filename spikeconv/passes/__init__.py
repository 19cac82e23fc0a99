"""A network's forward as a program, or all that has no spiking form: three passes that read alone.

1. `trace`: the graph of its calls, for which `operands` and `examine` note what an example shows;
2. `normalise`: the graph in one spelling; `understand` refuses what then has no spiking form;
3. `lower`: the graph as a program, which `same` holds against the network.
"""

from spikeconv.passes.errors import ConversionError, Problem
from spikeconv.passes.program_of import program_of

__all__ = ["ConversionError", "Problem", "program_of"]
