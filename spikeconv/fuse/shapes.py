"""The shapes of a network's values on images of another size than it was converted with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, batch_of, image_shapes, tensors_of
from spikeconv.network.chunk import Chunk
from spikeconv.network.program import Program, Step
from spikeconv.network.simulation import Simulation
from spikeconv.network.timing import Timing
from spikeconv.neuron import IFNode


class _ShapeRun(Simulation):
    """A run that notes the shape of every value of one image before the readout."""

    def _run(self, step: Step, chunk: Chunk) -> None:
        super()._run(step, chunk)
        value = chunk.values.get(step.name, self.sums.get(step.name))
        if isinstance(value, Tensor):
            self.shapes[step.name] = tuple(value.shape[1:])

    def record(self) -> dict[str, tuple[int, ...]]:
        """Run one step; the shapes by name."""
        self.shapes: dict[str, tuple[int, ...]] = {
            name: tuple(value.shape[1:])
            for name, value in self.fixed.items()
            if isinstance(value, Tensor)
        }
        self.mean_output(1, 1)
        return self.shapes


def program_for(
    program: Program,
    layers: Mapping[str, nn.Module],
    neurons: Mapping[str, IFNode],
    weights: Mapping[str, Tensor],
    batch: Batch,
) -> Program:
    """The program with the shapes that its values have on such a batch, but for the readout's."""
    if image_shapes(batch) == tuple(item.shape for item in program.inputs):
        return program
    one = batch_of(tensor.new_zeros(1, *tensor.shape[1:]) for tensor in tensors_of(batch))
    with torch.no_grad():
        found = _ShapeRun(program, dict(layers), neurons, weights, one, Timing()).record()
    steps = tuple(replace(step, shape=found.get(step.name, step.shape)) for step in program.steps)
    inputs = tuple(replace(item, shape=found[item.name]) for item in program.inputs)
    return replace(program, steps=steps, inputs=inputs)
