"""One run of a spiking network: all phases and stages, time in chunks, nothing kept afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from spikeconv.calibrate.cos import offset_potential
from spikeconv.calibrate.inputs import Batch, batch_of, images_of, tensors_of
from spikeconv.calibrate.srp import silenced
from spikeconv.network.calls import bad_images
from spikeconv.network.chunk import Chunk, Values
from spikeconv.network.folding import fold, in_time, unfold
from spikeconv.network.layers import PoolState, temporal_max_pool
from spikeconv.network.monitor import Monitor
from spikeconv.network.program import Phase, Program, Step, fill
from spikeconv.network.run_step import Layers, constants_of, run_step
from spikeconv.network.structure import map_tensors
from spikeconv.network.timing import Stage, Timing
from spikeconv.neuron import IFNode
from spikeconv.ops.call import state_dtype


def _learns(node: IFNode, current: Tensor) -> bool:
    """Whether a gradient may be asked for, which the integers of a count do not have."""
    wanted = any(tensor.requires_grad for tensor in (current, *node.parameters()))
    return wanted and torch.is_grad_enabled()


class Simulation:
    """State and values of one run of a program on a batch x of B images.

    Values of the temporal phase are ``[n * B, *]`` for the n steps of the chunk, time outermost.
    """

    def __init__(
        self,
        program: Program,
        layers: Layers,
        neurons: Mapping[str, IFNode],
        weights: Mapping[str, Tensor],
        x: Batch,
        timing: Timing,
        monitor: Monitor | None = None,
    ) -> None:
        self.program = program
        self.layers = layers
        self.neurons = neurons
        self.timing = timing
        self.monitored = None if monitor is None else monitor.begin(x)
        self.constants: Values = self._constants(weights)
        self._fix(x)
        self.silent: dict[str, Tensor] = {}
        self._start(Stage(0))

    def _constants(self, weights: Mapping[str, Tensor]) -> Values:
        """What depends on no input."""
        return constants_of(self.program, self.layers, weights)

    def _fix(self, x: Batch) -> None:
        """Compute what is the same at every step."""
        self.inputs = x
        self.batch = images_of(x)
        self.like = next(tensor for tensor in tensors_of(x) if tensor.is_floating_point())
        self.fixed: Values = self.program.bind(x)
        self.bad = bad_images(x)
        for step in self.program.phase(Phase.STATIC):
            self.fixed[step.name] = self._call(step, self._fixed_value)

    def _start(self, stage: Stage) -> None:
        """All neurons at their initial potential, no step done; SRP's mask stays."""
        self.stage = stage
        self.done = 0
        self.v: dict[str, Tensor] = {}
        self.net_count: dict[str, Tensor] = {}
        self.pools: dict[str, PoolState] = {}
        self.sums: dict[str, Tensor] = {}

    def keep(self, images: Tensor) -> None:
        """Go on, after any chunk, with these images of the batch only."""
        for state in (self.v, self.net_count, self.sums, self.silent):
            for name, value in state.items():
                state[name] = value[images]
        for pool in self.pools.values():
            pool.keep(images)
        self._fix(batch_of(tensor[images] for tensor in tensors_of(self.inputs)))

    def _fixed_value(self, name: str) -> Any:
        return self.constants[name] if name in self.constants else self.fixed[name]

    def _call(self, step: Step, read: Any) -> Any:
        args, kwargs = fill(step.args, read), fill(step.kwargs, read)
        return run_step(step, self.layers, args, kwargs)

    def mean_output(self, T: int, at_once: int) -> Any:
        """The output on the mean over the readout of T steps, `at_once` steps at a time."""
        for stage in self.timing.stages(T, every_step=False):
            self._start(stage)
            for steps, last in stage.chunks(at_once):
                self._advance(steps, last=last, trains=False)
            if stage.silences:
                self._silence()
        return self._mean_read_out(self.timing.steps_read(T))

    def _mean_read_out(self, read: int) -> Any:
        """The output ``[B, *]`` on the mean over so many steps, from the sums over them."""
        rates = {name: self._rate(name, s, read) for name, s in self.sums.items()}
        return map_tensors(lambda y: y[0], self._read_out(rates, 1))

    def running_outputs(self, T: int, at_once: int) -> Iterator[Any]:
        """For every chunk of n steps, the output ``[n, B, *]`` on the mean of the steps so far.

        Before the readout begins, that is the mean of all steps of the stage so far.
        """
        for stage in self.timing.stages(T, every_step=True):
            self._start(stage)
            for steps, last in stage.chunks(at_once):
                yield self._running_output(steps, last=last)
            if stage.silences:
                self._silence()

    def _running_output(self, n: int, *, last: bool) -> Any:
        """Run n steps of the stage: the output ``[n, B, *]`` on the mean of its steps so far."""
        sums = self._advance(n, last=last, trains=True)
        delay = self.stage.delay
        t = torch.arange(self.done - n, self.done, device=self.like.device) + 1
        t = torch.where(t > delay, t - delay, t)
        rates = {
            name: fold(self._rate(name, s, t.view(-1, *[1] * (s.dim() - 1))))
            for name, s in sums.items()
        }
        return self._read_out(rates, n)

    def _silence(self) -> None:
        """Take SRP's mask from where the neurons stand."""
        for name, v in self.v.items():
            self.silent[name] = silenced(v, self.neurons[name].v_threshold)

    def _advance(self, n: int, *, last: bool, trains: bool) -> dict[str, Tensor]:
        """Run n steps and add to `sums` what the readout reads.

        With `trains`, returns the running sums after each of the n steps ``[n, B, *]``; they begin
        anew where the delay ends.
        """
        if self.done == self.stage.delay:
            self.sums = {}
        program, chunk = self.program, Chunk(n, last, trains)
        for step in program.phase(Phase.TEMPORAL):
            self._run(step, chunk)
            for name in program.last_temporal_reads[step.name]:
                chunk.values.pop(name, None)
        self.done += n
        return chunk.running

    def _run(self, step: Step, chunk: Chunk) -> None:
        """Run one temporal step: its value, and what the readout reads of it."""
        name, program = step.name, self.program
        if step.kind == "neuron":
            emitted = self._fire(step, chunk)
            if name in program.inner:
                chunk.values[name] = fold(emitted)
            if name in program.boundary:
                emitted = self._spikes(name, emitted) if name in program.inner else emitted
                self._add(name, emitted, chunk)
        else:
            chunk.values[name] = self._layer(step, chunk)
            if name in program.boundary:
                self._add(name, chunk.values[name].unflatten(0, (chunk.steps, self.batch)), chunk)

    def _delayed(self, n: int) -> int:
        """How many of the next n steps belong to the delay."""
        return min(n, max(0, self.stage.delay - self.done))

    def _add(self, name: str, value: Tensor, chunk: Chunk) -> None:
        """Add a chunk's count ``[B, *]`` or train ``[n, B, *]`` to the sum over time."""
        delayed = self._delayed(chunk.steps)
        self.sums[name] = chunk.add(name, value, self.sums.get(name), delayed)

    def _fire(self, step: Step, chunk: Chunk) -> Tensor:
        """Emitted of a neuron layer: PSPs if layers read them, else a train or the count."""
        name, n = step.name, chunk.steps
        node = self.neurons[name]
        source = step.args[0].name
        static = source not in chunk.values
        current = self.fixed[source] if static else unfold(chunk.values[source], n, self.batch)
        delayed, stage = self._delayed(n), self.stage
        if name in self.program.inner:
            emit = "psp"
        elif chunk.trains or self.monitored is not None or delayed or _learns(node, current):
            emit = "spikes"
        else:
            emit = "count"
        start = self.v.get(name)
        if stage.cos and self.done == 0:
            start = self._offset(name, current, static)
        emitted, v = node.run(
            current,
            n if static else None,
            v_init=start,
            count_init=self.net_count.get(name),
            emit=emit,
            return_v=None if chunk.last else "last",
            start=self.done,
        )
        if v is not None:
            self.v[name] = v
            if node.signed:
                count = emitted if emit == "count" else emitted.sign().sum(0, dtype=torch.int32)
                before = self.net_count.get(name)
                self.net_count[name] = count if before is None else before + count
        if name in self.silent:
            emitted.masked_fill_(self.silent[name], 0)
        self._tell_monitor(name, emitted)
        return emitted

    def _tell_monitor(self, name: str, train: Tensor) -> None:
        """Let the monitor count a chunk's train, but for a preview's, which `_offset` counts."""
        if self.monitored is not None and not self.stage.preview:
            n = len(train)
            unread = self._delayed(n) if self.stage.answers else n
            self.monitored.add(name, train, unread=unread)

    def _spikes(self, name: str, psps: Tensor) -> Tensor:
        """What was emitted, without the threshold that a layer reads with it."""
        if psps.requires_grad:  # sign has no gradient; a threshold over itself is 1
            return psps / self.neurons[name].v_threshold.to(psps.dtype)
        return psps.sign()

    def _offset(self, name: str, current: Tensor, static: bool) -> Tensor:
        """COS's initial potential, from the first steps of a layer's own input."""
        node, steps = self.neurons[name], self.stage.cos
        spikes, v = node.run(
            current if static else current[:steps],
            steps if static else None,
            emit="spikes",
            return_v="all",
        )
        assert v is not None
        if self.monitored is not None:
            self.monitored.add(name, spikes, unread=steps, sent=False)
        start = node.v_threshold, node.v_init
        return offset_potential(spikes, v, *start, signed=node.signed)

    def _layer(self, step: Step, chunk: Chunk) -> Any:
        """A call of the temporal phase; a value that is the same at every step joins as often."""
        values, n = chunk.values, chunk.steps
        if step.kind == "max_pool":
            state = self.pools.setdefault(step.name, PoolState())
            x = unfold(values[step.args[0].name], n, self.batch)
            return fold(temporal_max_pool(self.layers[step.target], x, state))

        def read(name: str) -> Any:
            if name in self.constants:
                return self.constants[name]
            if name in values:
                value = values[name]
                return unfold(value, n, self.batch) if step.broadcasts else value
            return in_time(self.fixed[name], n, step.broadcasts)

        value = self._call(step, read)
        return fold(value) if step.broadcasts else value

    def _rate(self, name: str, total: Tensor, steps: int | Tensor) -> Tensor:
        """Sum over time to mean over time; a neuron's count is worth theta a spike."""
        is_neuron = name in self.neurons
        total = total.to(state_dtype(self.like))
        scaled = total * self.neurons[name].v_threshold if is_neuron else total
        return (scaled / steps).to(self.like.dtype)

    def _mean_fixed(self, name: str) -> Any:
        """The mean over time of a value that is the same at every step."""
        return self.fixed[name]

    def _read_out(self, rates: Mapping[str, Tensor], n: int) -> Any:
        """The output ``[n, B, *]``, from means ``[n * B, *]``."""
        values: Values = dict(rates)

        def read(name: str) -> Any:
            if name in self.constants:
                return self.constants[name]
            return values[name] if name in values else in_time(self._mean_fixed(name), n, False)

        for step in self.program.phase(Phase.READOUT):
            values[step.name] = self._call(step, read)

        def each(y: Tensor) -> Tensor:
            y = y.unflatten(0, (n, self.batch))
            if not y.is_floating_point():  # it knows no NaN
                return y
            return y + self.bad.to(y.dtype).view(-1, *[1] * (y.dim() - 2))

        return map_tensors(each, fill(self.program.output, read))
