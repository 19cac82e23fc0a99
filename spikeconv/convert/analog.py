"""A program run as the ANN it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from spikeconv.calibrate.inputs import Batch
from spikeconv.convert.program import Program, fill
from spikeconv.convert.run_step import Layers, run_step

Observer = Callable[[str, Tensor, Tensor], None]


def run_analog(
    program: Program,
    layers: Layers,
    weights: Mapping[str, Tensor],
    x: Batch,
    observe: Observer | None = None,
) -> Any:
    """The ANN's output; `observe` gets each neuron's name, pre-activation and activation."""
    values = program.bind(x)
    for step in program.steps:
        if step.kind == "constant":
            values[step.name] = weights[step.target]
            continue
        args = fill(step.args, values.__getitem__)
        kwargs = fill(step.kwargs, values.__getitem__)
        if step.kind == "neuron":
            values[step.name] = layers[step.target](args[0])
            if observe is not None:
                observe(step.name, args[0], values[step.name])
        else:
            values[step.name] = run_step(step, layers, args, kwargs)
        del args, kwargs
        for name in program.last_reads[step.name]:
            values.pop(name, None)
    return fill(program.output, values.__getitem__)
