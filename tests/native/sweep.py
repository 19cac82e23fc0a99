"""Compares a native operator with the neuron by the book in every combination of options.

`python -m tests.native.sweep` does it for the CPU operator and prints the instruction set and the
number of comparisons; SPIKECONV_ISA chooses the set.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch

from tests.helpers import assert_same
from tests.native import plain
from tests.native.cases import Case, arguments, outputs_wanted, populations

Operator = Callable[..., None]


def compare(operator: Operator, case: Case, *wanted: tuple[str, str]) -> None:
    """Run the operator on a case; raise AssertionError unless each (emit, return_v) is right."""
    neurons = case.neurons()
    spikes, trace = plain.run(neurons)
    for emit, return_v in wanted:
        emitted, v = case.outputs(emit, return_v)
        operator(**arguments(case, emitted, v, emit, return_v))
        said = f"{emit}, v {return_v}, x {list(case.x.shape)} {case.x.dtype} {case.x.stride()}"
        bias = None if case.bias is None else f"{list(case.bias.shape)} {case.bias.stride()}"
        said += f", signed {case.signed}, ties {case.tie_fires}, hard {case.hard}, bias {bias}"
        assert_same(emitted, plain.emission(neurons, spikes, emit), f"emitted, {said}")
        if v is not None:
            potentials = torch.from_numpy(trace if return_v == "all" else trace[-1])
            assert_same(v, potentials, f"v, {said}")


def sweep(operator: Operator) -> int:
    """Compare every case in every form of output; return how many there were."""
    comparisons = 0
    for case in populations():
        wanted = list(outputs_wanted(case))
        compare(operator, case, *wanted)
        comparisons += len(wanted)
    return comparisons


if __name__ == "__main__":
    importlib.import_module("spikeconv._C")
    native = torch.ops.spikeconv
    print(native._cpu_isa(), sweep(native._if_multistep_cpp))
