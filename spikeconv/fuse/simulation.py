"""One run of a network whose covered layers are integers: the rest as in floating point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, tensors_of
from spikeconv.fuse import stems
from spikeconv.fuse.encoder import Encoder, Unpooled
from spikeconv.fuse.engine import Engine, Given, Want
from spikeconv.fuse.gradients import behind, refuse
from spikeconv.fuse.layer import IntegerLayer
from spikeconv.fuse.plan import Plan
from spikeconv.fuse.reference import State
from spikeconv.fuse.segments import Segment
from spikeconv.fuse.starts import initial_state, look_at, moved, never, silent_after
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

    def _fix(self, x: Batch) -> None:
        on = tensors_of(x)[0].device.type in stems.DEVICES
        self.stems = self.plan.stems if on else frozenset()
        self.fronts: dict[str, tuple[nn.Conv2d, nn.MaxPool2d | None]] = {}
        self.unbiased: dict[str, nn.Conv2d] = {}
        self.passed: set[str] = set()
        self.unpooled: dict[str, Unpooled] = {}
        for name, front in self.plan.fronts.items() if on and self.engine.takes_unpooled else ():
            layers = stems.layers_of(front, self.layers)
            if layers is not None:
                self.fronts[name] = layers
                self.unbiased[front.convolution] = layers[0]
                self.passed |= {front.pool} if front.pool is not None else set()
        super()._fix(x)
        self.wanting: dict[str, list[Tensor]] = {}
        self.digits: dict[str, tuple[Tensor, ...]] = {}

    def _call(self, step: Step, read: Any) -> Any:
        if step.name in self.passed:
            return read(step.args[0].name)
        if step.name not in self.stems:
            return super()._call(step, read)

        def last(name: str) -> Tensor:
            x: Tensor = read(name).contiguous(memory_format=torch.channels_last)
            return x

        if step.name in self.unbiased:
            return stems.without_bias(self.unbiased[step.name], last(step.args[0].name))
        return super()._call(step, last)

    def _start(self, stage: Stage) -> None:
        super()._start(stage)
        self.states: dict[str, State] = {}
        self.spikes: dict[str, Any] = {}

    def _silence(self) -> None:
        super()._silence()
        for name, state in self.states.items():
            self.silent[name] = silent_after(self._population(name), state.v)

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
        for name in segment.steps:
            self._give_digits(name, chunk)
        if self.stage.cos and self.done == 0:
            for name in segment.steps:
                if name not in self.plan.program.pools:
                    self._run_moved(name, chunk)
            return
        self._run_together(segment.steps, segment.given, segment.kept, chunk)
        for name in segment.dropped:
            del self.spikes[name]

    def _give_digits(self, name: str, chunk: Chunk) -> None:
        """The digits of what an image adds to a layer at every step, for its shortcuts to read."""
        digits = self.plan.program.layers[name].digits if name in self.plan.statics else None
        if digits is None:
            return
        if name not in self.digits:
            layer = self.plan.layer(name, self.like.device)
            assert layer.digits is not None
            self.digits[name] = layer.digits.of(self._static_current(name, layer), layer.unit)
        for source, digit in zip(digits.largest, self.digits[name], strict=True):
            self.spikes[source] = self.engine.pack(source, digit.expand(chunk.steps, *digit.shape))

    def _static_current(self, name: str, layer: IntegerLayer) -> Tensor:
        """What is the same at every step of all that enters a layer, float64 ``[B, K, H, W]``."""
        total = torch.zeros((), dtype=torch.float64, device=self.like.device)
        for static in self.plan.statics_on(name, self.like.device):
            value = self.fixed[static.name].to(torch.float64)
            mixes = static.scale.dim() == 2
            channels = static.scale.shape[1] if mixes else layer.shape[0]
            value = value.reshape(self.batch, channels, *layer.shape[1:])
            if mixes:
                value = torch.einsum("km,bmhw->bkhw", static.scale, value)
            else:
                value = value * static.scale.view(-1, 1, 1)
            total = value if total.dim() == 0 else total.add_(value)
        return total

    def _run_moved(self, name: str, chunk: Chunk) -> None:
        """One population and the pools that it reads, from where COS has it start."""
        reads, last = self.plan.reads, self.plan.last_readers
        pools, sources = reads[name]
        self.states[name] = self._moved(name, (*pools, name), sources)
        kept = frozenset((name,)).intersection(last)
        self._run_together((*pools, name), sources, kept, chunk)
        for source in sources:
            if last[source] == name:
                del self.spikes[source]

    def _moved(self, name: str, steps: tuple[str, ...], sources: frozenset[str]) -> State:
        """The state that a population starts in, from the first steps of its own input."""
        trains = {source: self.engine.unpack(source, self.spikes[source]) for source in sources}
        currents = {name: self._current(name)} if name in self.currents else {}
        population = self._population(name)
        look = look_at(population, signed=self.plan.program.sources[name].signed)
        want = Want(frozenset((name,)), frozenset(), True)
        states: dict[str, State] = {}
        for t in range(self.stage.cos):
            spikes = {
                source: self.engine.pack(source, train[t : t + 1])
                for source, train in trains.items()
            }
            fired = self.engine.run(steps, Given(spikes, currents, 1, states), want)[name]
            assert fired.state is not None
            states = {name: fired.state}
            (emitted,) = self.engine.unpack(name, fired.spikes)
            # In the order of v in memory: two orders at once take several times as long.
            look.add(emitted.contiguous(memory_format=torch.channels_last), fired.state.v)
            if self.monitored is not None:
                seen = emitted.reshape(1, self.batch, *self.plan.shapes[name])
                self.monitored.add(name, seen, unread=1, sent=False)
        v = moved(population, look)
        return self._silenced(name, replace(self._initial(name), v=v))

    def _population(self, name: str) -> IntegerLayer | Encoder:
        return self.plan.population(name, self.like.device)

    def _initial(self, name: str) -> State:
        """A population at v_init."""
        source = self.plan.program.sources[name]
        shape = (self.batch, *source.shape)
        return initial_state(self._population(name), shape, source.signed)

    def _silenced(self, name: str, state: State) -> State:
        """The state, of neurons that SRP silences one in which they do not fire in this run."""
        if name not in self.silent:
            return state
        return replace(state, v=never(self._population(name), state.v, self.silent[name]))

    def _state(self, name: str) -> State | None:
        """A population's state before the next step, None where it is at v_init."""
        if name in self.states:
            return self.states[name]
        return self._silenced(name, self._initial(name)) if name in self.silent else None

    def _run_together(
        self, steps: Sequence[str], sources: frozenset[str], kept: frozenset[str], chunk: Chunk
    ) -> None:
        """Some steps of the integer program in one call of the engine.

        Args:
            steps: their names.
            sources: what of the steps before they read.
            kept: those whose spikes are read later.
            chunk: of time.
        """
        plan, program = self.plan, self.program
        populations = [name for name in steps if name not in plan.program.pools]
        read_out = program.boundary.intersection(populations)
        if self.monitored is not None:
            wants_train = frozenset(populations)
        elif chunk.trains or self._delayed(chunk.steps) > 0:  # the readout tells steps apart
            wants_train = plan.read_as_float.intersection(populations) | read_out
        else:
            wants_train = plan.read_as_float.intersection(populations)
        states = {name: self._state(name) for name in populations}
        fired = self.engine.run(
            steps,
            Given(
                {name: self.spikes[name] for name in sources},
                {name: self._current(name) for name in populations if name in self.currents},
                chunk.steps,
                {name: state for name, state in states.items() if state is not None},
            ),
            Want(kept | wants_train, read_out - wants_train, not chunk.last),
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
        self.spikes |= {name: fired[name].spikes for name in kept}

    def _rate(self, name: str, total: Tensor, steps: int | Tensor) -> Tensor:
        rate = super()._rate(name, total, steps)
        in_integers = name in self.plan.program.layers or name in self.currents
        return self._without_gradient(name, rate) if in_integers else rate

    def _without_gradient(self, name: str, value: Tensor) -> Tensor:
        """What is made of a population's spikes in floating point."""
        if not torch.is_grad_enabled():
            return value
        if name not in self.wanting:
            fixed = {**self.constants, **self.fixed}
            self.wanting[name] = behind(name, self.program, self.layers, self.neurons, fixed)
        return refuse(value, self.wanting[name])

    def _current(self, encoder: str) -> Tensor | Unpooled:
        """The static current of an encoder as images; in float32, which holds 16 bits exactly."""
        current: Tensor = self.fixed[self.currents[encoder]]
        shape = self.plan.program.sources[encoder].shape
        if encoder not in self.fronts:
            return current.to(torch.float32).reshape(self.batch, *shape)
        if encoder not in self.unpooled:
            convolution, pool = self.fronts[encoder]
            self.unpooled[encoder] = Unpooled(current, convolution.bias, pool, shape)
        return self.unpooled[encoder]

    def _tell(self, name: str, spikes: Any, chunk: Chunk) -> None:
        """Give a population's train to all that are not in integers."""
        train = self.engine.unpack(name, spikes)
        train = train.reshape(chunk.steps, self.batch, *self.plan.shapes[name])
        if name in self.plan.read_as_float:
            psps = fold(train * self.neurons[name].v_threshold.to(self.like.dtype))
            chunk.values[name] = self._without_gradient(name, psps)
        self._tell_monitor(name, train)
        if name in self.program.boundary:
            self._add(name, train, chunk)
