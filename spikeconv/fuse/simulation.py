"""One run of a network whose covered layers are integers: the rest as in floating point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from spikeconv.calibrate.inputs import Batch
from spikeconv.convert.folding import fold
from spikeconv.convert.monitor import Monitor
from spikeconv.convert.program import Program, Step
from spikeconv.convert.simulation import Layers, Simulation, Values
from spikeconv.convert.timing import Stage, Timing
from spikeconv.fuse.engine import Engine
from spikeconv.fuse.plan import Plan
from spikeconv.fuse.reference import State
from spikeconv.neuron import IFNode


class FusedSimulation(Simulation):
    """`Simulation` whose populations in `plan.program` are an engine's.

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

    def _run(
        self,
        step: Step,
        values: Values,
        running: dict[str, Tensor],
        n: int,
        *,
        last: bool,
        trains: bool,
    ) -> None:
        program, name = self.plan.program, step.name
        if name in program.pools:
            pool = program.pools[name]
            self.spikes[name] = self.engine.run_pool(pool, self.spikes[pool.source])
        if name in program.layers:
            self._run_integers(step, values, running, n, last=last, trains=trains)
        elif name not in self.plan.absorbed:
            super()._run(step, values, running, n, last=last, trains=trains)
            if name in self.plan.read_as_integers and step.kind == "neuron":
                train = values[name].unflatten(0, (n, self.batch)).sign()
                shape = program.sources[name].shape
                self.spikes[name] = self.engine.pack(name, train.reshape(*train.shape[:2], *shape))
        for source in self.plan.last_reads.get(name, ()):
            del self.spikes[source]

    def _run_integers(
        self,
        step: Step,
        values: Values,
        running: dict[str, Tensor],
        n: int,
        *,
        last: bool,
        trains: bool,
    ) -> None:
        """A population of the integer program: its spikes, and what others read of them."""
        name, plan = step.name, self.plan
        delayed, stage = self._delayed(n), self.stage
        to_readout = name in self.program.boundary
        wants_train = (
            name in plan.read_as_float
            or self.monitor is not None
            or (to_readout and (trains or delayed > 0))
        )
        fired = self.engine.run_layer(
            plan.program.layers[name],
            self.spikes,
            self.states.get(name),
            want_spikes=wants_train or name in plan.read_as_integers,
            want_count=to_readout and not wants_train,
            want_state=not last,
        )
        if fired.state is not None:
            self.states[name] = fired.state
        if name in plan.read_as_integers:
            self.spikes[name] = fired.spikes
        if wants_train:
            train = self.engine.unpack(name, fired.spikes)
            train = train.reshape(*train.shape[:2], *plan.shapes[name])
            if name in plan.read_as_float:
                values[name] = fold(train * self.neurons[name].v_threshold.to(self.like.dtype))
            if self.monitor is not None and not stage.preview:
                self.monitor.add(name, train, unread=delayed if stage.answers else n)
            if to_readout:
                self._add(name, train, trains, running)
        elif fired.count is not None:
            # In plain order, in which the readout adds up as it does without integers.
            count = fired.count.contiguous().view(len(fired.count), *plan.shapes[name])
            self._add(name, count, trains, running)
