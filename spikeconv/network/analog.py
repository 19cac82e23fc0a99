"""A program run as the ANN it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from spikeconv.calibrate.inputs import Batch
from spikeconv.network.program import Phase, Program, fill
from spikeconv.network.run_step import Layers, constants_of, run_step

Observer = Callable[[str, Tensor, Tensor], None]


class AnalogRun:
    """A run of the ANN that stops at every neuron; its output is there at the end.

    As an iterator it gives each neuron's name, pre-activation and activation ``[B, *]``. Of the
    constant phase it takes the values, `spikeconv.network.run_step.constants_of`.

    Attributes:
        output: the ANN's, after the last neuron; before, None.
    """

    def __init__(
        self, program: Program, layers: Layers, constants: Mapping[str, Any], x: Batch
    ) -> None:
        self.output: Any = None
        self._neurons = self._run(program, layers, constants, x)

    def __iter__(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[str, Tensor, Tensor]:
        return next(self._neurons)

    def _run(
        self, program: Program, layers: Layers, constants: Mapping[str, Any], x: Batch
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        values = {**constants, **program.bind(x)}
        for step in program.steps:
            if step.phase is Phase.CONSTANT:
                continue
            args = fill(step.args, values.__getitem__)
            kwargs = fill(step.kwargs, values.__getitem__)
            if step.kind == "neuron":
                values[step.name] = layers[step.target](args[0])
                yield step.name, args[0], values[step.name]
            else:
                values[step.name] = run_step(step, layers, args, kwargs)
            del args, kwargs
            for name in program.last_reads[step.name]:
                values.pop(name, None)
        self.output = fill(program.output, values.__getitem__)


def run_analog(
    program: Program,
    layers: Layers,
    weights: Mapping[str, Tensor],
    x: Batch,
    observe: Observer | None = None,
) -> Any:
    """The ANN's output; `observe` gets each neuron's name, pre-activation and activation."""
    run = AnalogRun(program, layers, constants_of(program, layers, weights), x)
    for neuron in run:
        if observe is not None:
            observe(*neuron)
    return run.output
