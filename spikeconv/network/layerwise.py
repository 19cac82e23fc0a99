"""A run of all time-steps at once, one population after the other, that keeps little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikeconv.calibrate.inputs import Batch
from spikeconv.network.chunk import Chunk, Values
from spikeconv.network.folding import fold, unfold
from spikeconv.network.packed import PackedTrain
from spikeconv.network.program import Phase, Program, Step, fill, refs
from spikeconv.network.run_step import Layers
from spikeconv.network.segments import Segment
from spikeconv.network.simulation import Simulation
from spikeconv.network.structure import map_tensors
from spikeconv.network.timing import Timing
from spikeconv.neuron import IFNode


@dataclass(frozen=True)
class _Emitted:
    """What a population emitted, as the layers behind it read it."""

    train: PackedTrain
    v_threshold: Tensor
    dtype: torch.dtype

    def psps(self) -> Tensor:
        """``[T, B, *]``: the bits that `IFNode.run` emits as ``"psp"``."""
        theta = self.v_threshold
        return (self.train.unpacked(theta.dtype) * theta).to(self.dtype)

    def mean(self) -> Tensor:
        """Their mean over time ``[B, *]``."""
        theta = self.v_threshold.to(self.dtype).to(self.v_threshold.dtype)  # as layers read it
        return (self.train.count() * (theta / self.train.steps)).to(self.dtype)


class LayerwiseRun(Simulation):
    """Some images' run of T steps, which its caller takes from population to population.

    A population's current is computed from what those before it emitted, of which bits are kept, as
    often as it is asked for; `fire` ends that. So layers and neurons may change until then.

    Args:
        program, layers, neurons, x: as `Simulation`'s; `layers` and `neurons` are read when they
            are needed.
        constants: the values of the constant phase, which all runs share.
        T: time-steps.
        head: a call of the readout, or None; what it is given is kept.
    """

    def __init__(
        self,
        program: Program,
        layers: Layers,
        neurons: Mapping[str, IFNode],
        constants: Values,
        x: Batch,
        T: int,
        head: Step | None,
    ) -> None:
        self.T = T
        self.head = head
        self.head_given: Tensor | None = None
        super().__init__(program, layers, neurons, constants, x, Timing())
        self.emitted: dict[str, _Emitted] = {}
        self.kept: Values = {}
        later = [step for step in program.steps if step.phase in (Phase.TEMPORAL, Phase.READOUT)]
        read = {ref.name for ref in refs((program.output, [(s.args, s.kwargs) for s in later]))}
        self.fixed = {name: value for name, value in self.fixed.items() if name in read}

    def _constants(self, weights: Mapping[str, Tensor]) -> Values:
        return dict(weights)

    def current(self, segment: Segment) -> Tensor:
        """What reaches the population, ``[T, B, *]``; expanded where it is always the same."""
        return self._current(segment, self._values(segment).values)

    def means(self, segment: Segment, layer: Step) -> tuple[Tensor, Tensor]:
        """Means over time, float32 ``[B, *]``: of what a layer is given, and of the current.

        The calls between populations are affine, so they give the mean of what they would give at
        each step, but for rounding, when they are given means; all but the max pool in time.
        """
        averaged = all(step.kind != "max_pool" for step in segment.steps)
        chunk = self._values(segment, averaged=averaged, also=layer.args[0].name)
        assert segment.neuron is not None
        sources = layer.args[0].name, segment.neuron.args[0].name
        values = (unfold(chunk.values[name], chunk.steps, self.batch) for name in sources)
        given, current = (value.mean(0, dtype=torch.float32) for value in values)
        return given, current

    def fire(self, segment: Segment) -> None:
        """Run the population, and forget what only it has read."""
        assert segment.neuron is not None
        chunk = self._values(segment)
        name = segment.neuron.name
        node = self.neurons[name]
        current = self._current(segment, chunk.values)
        train, _ = node.run(current, emit="uint8", return_v=None)
        if name in self.program.inner:
            self.emitted[name] = _Emitted(PackedTrain(train), node.v_threshold, current.dtype)
        if name in self.program.boundary:
            self.sums[name] = train.sum(0, dtype=torch.int32)
        self._keep(segment, chunk)

    def output(self, segment: Segment) -> Any:
        """The output on the mean over all steps, once every population has fired."""
        self._keep(segment, self._values(segment))
        return self._mean_read_out(self.T)

    def _values(self, segment: Segment, *, averaged: bool = False, also: str = "") -> Chunk:
        """The values that a segment's calls leave: those that are read elsewhere, and `also`.

        With `averaged`, of means over time as one step.
        """
        chunk = Chunk(1 if averaged else self.T, last=True, trains=False)
        for name in segment.reads:
            emitted = self.emitted.get(name)
            if emitted is not None:
                value = emitted.mean() if averaged else fold(emitted.psps())
            else:
                kept = self.kept[name]
                value = map_tensors(self._mean_over_time, kept) if averaged else kept
            chunk.values[name] = value
        self.pools = {}
        source = segment.neuron.args[0].name if segment.neuron is not None else ""
        wanted = {*segment.keeps, *self.program.boundary, source, also}
        for step in segment.steps:
            chunk.values[step.name] = self._layer(step, chunk)
            for name in self.program.last_temporal_reads[step.name]:
                if name not in wanted:
                    chunk.values.pop(name, None)
        return chunk

    def _mean_over_time(self, value: Tensor) -> Tensor:
        mean: Tensor = unfold(value, self.T, self.batch).mean(0, dtype=torch.float32)
        return mean.to(value.dtype)

    def _current(self, segment: Segment, values: Values) -> Tensor:
        assert segment.neuron is not None
        source = segment.neuron.args[0].name
        if source in values:
            current: Tensor = unfold(values[source], self.T, self.batch)
        else:
            current = self.fixed[source].expand(self.T, *self.fixed[source].shape)
        return current

    def _keep(self, segment: Segment, chunk: Chunk) -> None:
        """Keep what is read later, and forget what is not."""
        for step in segment.steps:
            if step.name in self.program.boundary:
                value = chunk.values[step.name]
                self._add(step.name, unfold(value, self.T, self.batch), chunk)
        self.kept.update((name, chunk.values[name]) for name in segment.keeps)
        for name in segment.dead:
            self.emitted.pop(name, None)
            self.kept.pop(name, None)

    def _call(self, step: Step, read: Any) -> Any:
        if step is self.head:
            self.head_given = fill(step.args[0], read)
        return super()._call(step, read)
