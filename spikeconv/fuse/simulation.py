"""One run of a network whose covered layers are integers: the rest as in floating point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from spikeconv.calibrate.inputs import Batch
from spikeconv.fuse.engine import Engine, Given, Want
from spikeconv.fuse.plan import Plan
from spikeconv.fuse.reference import State
from spikeconv.fuse.segments import Segment
from spikeconv.network.chunk import Chunk
from spikeconv.network.folding import fold
from spikeconv.network.monitor import Monitor
from spikeconv.network.program import Program, Step
from spikeconv.network.run_step import Layers
from spikeconv.network.simulation import Simulation
from spikeconv.network.timing import Stage, Timing
from spikeconv.neuron import IFNode


class FusedSimulation(Simulation):
    """`Simulation` whose populations in `plan.program` and `plan.encoders` are an engine's.

    Spikes between them stay in the engine's format; a train in floating point is made of them only
    where something else reads it.
    """

    def __init__(
        self,
        program: Program,
        layers: Layers,
        neurons: Mapping[str, IFNode],
        weights: Mapping[str, Tensor],
        x: Batch,
        timing: Timing,
        monitor: Monitor | None,
        plan: Plan,
        engine: Engine,
    ) -> None:
        self.plan = plan
        self.engine = engine
        self.currents = {
            step.name: step.args[0].name for step in program.neurons() if step.name in plan.encoders
        }
        super().__init__(program, layers, neurons, weights, x, timing, monitor)

    def _start(self, stage: Stage) -> None:
        super()._start(stage)
        self.states: dict[str, State] = {}
        self.spikes: dict[str, Any] = {}

    def keep(self, images: Tensor) -> None:
        super().keep(images)
        for name, state in self.states.items():
            count = None if state.net_count is None else state.net_count[images]
            self.states[name] = replace(state, v=state.v[images], net_count=count)

    def _run(self, step: Step, chunk: Chunk) -> None:
        plan, name = self.plan, step.name
        for segment in plan.segments:
            if segment.steps[0] == name:
                self._run_segment(segment, chunk)
        if name in plan.absorbed or name in plan.program.layers or name in self.currents:
            return
        super()._run(step, chunk)
        if name in plan.read_as_integers and step.kind == "neuron":
            train = chunk.values[name].unflatten(0, (chunk.steps, self.batch)).sign()
            shape = plan.program.sources[name].shape
            self.spikes[name] = self.engine.pack(name, train.reshape(*train.shape[:2], *shape))

    def _run_segment(self, segment: Segment, chunk: Chunk) -> None:
        """A part of the integer program: its spikes, and what others read of them."""
        plan, program = self.plan, self.program
        populations = [name for name in segment.steps if name not in plan.program.pools]
        read_out = program.boundary.intersection(populations)
        if self.monitor is not None:
            wants_train = frozenset(populations)
        elif chunk.trains or self._delayed(chunk.steps) > 0:  # the readout tells steps apart
            wants_train = plan.read_as_float.intersection(populations) | read_out
        else:
            wants_train = plan.read_as_float.intersection(populations)
        fired = self.engine.run(
            segment.steps,
            Given(
                {name: self.spikes[name] for name in segment.given},
                {name: self._current(name) for name in populations if name in self.currents},
                chunk.steps,
                {name: self.states[name] for name in populations if name in self.states},
            ),
            Want(segment.kept | wants_train, read_out - wants_train, not chunk.last),
        )
        for name in populations:
            found = fired[name]
            if found.state is not None:
                self.states[name] = found.state
            if name in wants_train:
                self._tell(name, found.spikes, chunk)
            elif found.count is not None:
                # In plain order, in which the readout adds up as it does without integers.
                count = found.count.contiguous().view(self.batch, *plan.shapes[name])
                self._add(name, count, chunk)
        self.spikes |= {name: fired[name].spikes for name in segment.kept}
        for name in segment.dropped:
            del self.spikes[name]

    def _current(self, encoder: str) -> Tensor:
        """The static current of an encoder as images; in float32, which holds 16 bits exactly."""
        current: Tensor = self.fixed[self.currents[encoder]].to(torch.float32)
        return current.reshape(self.batch, *self.plan.program.sources[encoder].shape)

    def _tell(self, name: str, spikes: Any, chunk: Chunk) -> None:
        """Give a population's train to all that are not in integers."""
        train = self.engine.unpack(name, spikes)
        train = train.reshape(chunk.steps, self.batch, *self.plan.shapes[name])
        if name in self.plan.read_as_float:
            chunk.values[name] = fold(train * self.neurons[name].v_threshold.to(self.like.dtype))
        self._tell_monitor(name, train)
        if name in self.program.boundary:
            self._add(name, train, chunk)
