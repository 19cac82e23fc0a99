"""`python -m tests.native.large`: outputs of 16 MB and more, rows of whole cache lines or not.

Prints the instruction set and the number of comparisons with the neuron by the book.
"""

from __future__ import annotations

import importlib

import torch

from tests.native.cases import population
from tests.native.sweep import compare

if __name__ == "__main__":
    importlib.import_module("spikeconv._C")
    native = torch.ops.spikeconv
    comparisons = 0
    torch.manual_seed(0)
    for dtype, neurons, outputs in (
        (torch.float32, 1 << 19, [("spikes", "last"), ("words", "all"), ("psp", "all")]),
        (torch.bfloat16, 1 << 20, [("spikes", "none"), ("uint8", "all")]),
        (torch.float16, 1 << 21, [("uint8", "last")]),
        (torch.float32, (1 << 19) + 3, [("spikes", "last"), ("count", "all")]),
    ):
        case = population(
            dtype, 8, (neurons,), "dense", static=False, signed=False, hard=False, bias="none"
        )
        compare(native._if_multistep_cpp, case, *outputs)
        comparisons += len(outputs)
    print(native._cpu_isa(), comparisons)
