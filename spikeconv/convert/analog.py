"""A program run as the ANN it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from spikeconv.convert.program import INPUT, Program, fill, refs
from spikeconv.convert.simulation import Layers, run_step

Observer = Callable[[str, Tensor, Tensor], None]


def run_analog(
    program: Program,
    layers: Layers,
    weights: Mapping[str, Tensor],
    x: Tensor,
    observe: Observer | None = None,
) -> Any:
    """The ANN's output; `observe` gets each neuron's name, pre-activation and activation."""
    readers = Counter(ref.name for ref in refs(program.output))
    for step in program.steps:
        readers.update(ref.name for ref in refs((step.args, step.kwargs)))
    values: dict[str, Any] = {INPUT: x}
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
        for ref in refs((step.args, step.kwargs)):
            readers[ref.name] -= 1
            if not readers[ref.name]:
                values.pop(ref.name, None)
    return fill(program.output, values.__getitem__)
