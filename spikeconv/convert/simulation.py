"""One run of a spiking network: all phases, time in chunks, nothing kept afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, tensors_of
from spikeconv.convert.layers import PoolState, temporal_max_pool
from spikeconv.convert.monitor import Monitor
from spikeconv.convert.program import Phase, Program, Step, fill, map_tensors
from spikeconv.neuron import IFNode

Values = dict[str, Any]
Layers: TypeAlias = Mapping[str, nn.Module] | nn.ModuleDict


def run_step(step: Step, layers: Layers, args: Any, kwargs: Any) -> Any:
    """The value of one call whose arguments are filled in."""
    if step.kind in ("module", "max_pool"):
        return layers[step.target](*args, **kwargs)
    if step.kind == "method":
        return getattr(args[0], step.target)(*args[1:], **kwargs)
    return step.target(*args, **kwargs)


def fold(value: Any) -> Any:
    """``[T, B, *]`` as ``[T * B, *]``: layers without time take steps as images."""
    return value.flatten(0, 1) if isinstance(value, Tensor) else value


def unfold(value: Any, n: int, batch: int) -> Any:
    """``[n * B, *]`` as ``[n, B, *]``; undoes `fold`."""
    return value.unflatten(0, (n, batch)) if isinstance(value, Tensor) else value


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
        monitor: Monitor | None = None,
    ) -> None:
        self.program = program
        self.layers = layers
        self.neurons = neurons
        self.weights = weights
        self.monitor = monitor
        self.batch = len(x)
        self.like = next(tensor for tensor in tensors_of(x) if tensor.is_floating_point())
        self.v: dict[str, Tensor] = {}
        self.net_count: dict[str, Tensor] = {}
        self.pools: dict[str, PoolState] = {}
        self.sums: dict[str, Tensor] = {}
        self.fixed: Values = program.bind(x)
        self.constants: Values = {}
        for step in program.steps:
            if step.phase is Phase.CONSTANT:
                self.constants[step.name] = self._constant(step)
            elif step.phase is Phase.STATIC:
                self.fixed[step.name] = self._call(step, self._fixed_value)

    def _fixed_value(self, name: str) -> Any:
        return self.constants[name] if name in self.constants else self.fixed[name]

    def _constant(self, step: Step) -> Any:
        if step.kind == "constant":
            return self.weights[step.target]
        return self._call(step, self.constants.__getitem__)

    def _call(self, step: Step, read: Any) -> Any:
        args, kwargs = fill(step.args, read), fill(step.kwargs, read)
        return run_step(step, self.layers, args, kwargs)

    def mean_output(self, T: int, at_once: int) -> Any:
        """The output on the mean over T steps, `at_once` steps at a time."""
        for steps, last in _chunks(T, at_once):
            self._advance(steps, last=last, trains=False)
        return self._read_out({name: self._rate(name, s, T) for name, s in self.sums.items()}, 1)

    def running_outputs(self, T: int, at_once: int) -> Iterator[Any]:
        """For every chunk of n steps, the output ``[n, B, *]`` on the mean of the steps so far."""
        done = 0
        for steps, last in _chunks(T, at_once):
            sums = self._advance(steps, last=last, trains=True)
            t = torch.arange(done + 1, done + steps + 1, device=self.like.device)
            rates = {
                name: fold(self._rate(name, s, t.view(-1, *[1] * (s.dim() - 1))))
                for name, s in sums.items()
            }
            done += steps
            yield map_tensors(
                partial(unfold, n=steps, batch=self.batch), self._read_out(rates, steps)
            )

    def _advance(self, n: int, *, last: bool, trains: bool) -> dict[str, Tensor]:
        """Run n steps and add to `sums` what the readout reads.

        With `trains`, returns the running sums after each of the n steps ``[n, B, *]``.
        """
        program = self.program
        values: Values = {}
        running: dict[str, Tensor] = {}
        for step in program.phase(Phase.TEMPORAL):
            if step.kind == "neuron":
                emitted = self._fire(step, values, n, last=last, trains=trains)
                if step.name in program.inner:
                    values[step.name] = fold(emitted)
                if step.name in program.boundary:
                    emitted = emitted.sign() if step.name in program.inner else emitted
                    self._add(step.name, emitted, trains, running)
            else:
                values[step.name] = self._layer(step, values, n)
                if step.name in program.boundary:
                    self._add(
                        step.name, values[step.name].unflatten(0, (n, self.batch)), trains, running
                    )
            for name in program.last_temporal_reads[step.name]:
                values.pop(name, None)
        return running

    def _add(self, name: str, value: Tensor, trains: bool, running: dict[str, Tensor]) -> None:
        """Add a chunk's count ``[B, *]`` or train ``[n, B, *]`` to the sum over time."""
        before = self.sums.get(name)
        if trains:
            sums = value.cumsum(0, dtype=torch.float32)
            running[name] = sums if before is None else sums + before
            self.sums[name] = running[name][-1]
            return
        total = value if value.dtype == torch.int32 else value.sum(0, dtype=torch.float32)
        self.sums[name] = total if before is None else before + total

    def _fire(self, step: Step, values: Values, n: int, *, last: bool, trains: bool) -> Tensor:
        """Emitted of a neuron layer: PSPs if layers read them, else a train or the count."""
        name = step.name
        node = self.neurons[name]
        source = step.args[0].name
        static = source not in values
        current = self.fixed[source] if static else values[source].unflatten(0, (n, self.batch))
        if name in self.program.inner:
            emit = "psp"
        elif trains or self.monitor is not None:
            emit = "spikes"
        else:
            emit = "count"
        emitted, v = node.run(
            current,
            n if static else None,
            v_init=self.v.get(name),
            count_init=self.net_count.get(name),
            emit=emit,
            return_v=None if last else "last",
        )
        if v is not None:
            self.v[name] = v
            if node.signed:
                count = emitted if emit == "count" else emitted.sign().sum(0, dtype=torch.int32)
                before = self.net_count.get(name)
                self.net_count[name] = count if before is None else before + count
        if self.monitor is not None:
            self.monitor.add(name, emitted)
        return emitted

    def _layer(self, step: Step, values: Values, n: int) -> Any:
        """A call of the temporal phase; a value that is the same at every step joins as often."""
        if step.kind == "max_pool":
            state = self.pools.setdefault(step.name, PoolState())
            x = values[step.args[0].name].unflatten(0, (n, self.batch))
            return fold(temporal_max_pool(self.layers[step.target], x, state))

        def read(name: str) -> Any:
            if name in self.constants:
                return self.constants[name]
            if name in values:
                value = values[name]
                return unfold(value, n, self.batch) if step.broadcasts else value
            return _in_time(self.fixed[name], n, step.broadcasts)

        value = self._call(step, read)
        return fold(value) if step.broadcasts else value

    def _rate(self, name: str, total: Tensor, steps: int | Tensor) -> Tensor:
        """Sum over time to mean over time; a neuron's count is worth theta a spike."""
        is_neuron = name in self.neurons
        total = total.to(torch.float32)
        scaled = total * self.neurons[name].v_threshold if is_neuron else total
        return (scaled / steps).to(self.like.dtype)

    def _read_out(self, rates: Mapping[str, Tensor], n: int) -> Any:
        """The output, from means ``[n * B, *]``."""
        values: Values = dict(rates)

        def read(name: str) -> Any:
            if name in self.constants:
                return self.constants[name]
            return values[name] if name in values else _in_time(self.fixed[name], n, False)

        for step in self.program.phase(Phase.READOUT):
            values[step.name] = self._call(step, read)
        return fill(self.program.output, read)


def _chunks(T: int, at_once: int) -> Iterator[tuple[int, bool]]:
    """Numbers of steps that add up to T, each with whether it is the last."""
    for start in range(0, T, at_once):
        yield min(at_once, T - start), start + at_once >= T


def _in_time(value: Any, n: int, broadcasts: bool) -> Any:
    """A value without time ``[B, *]`` as it meets one with n steps."""
    if broadcasts:
        return value.unsqueeze(0) if isinstance(value, Tensor) else value
    return value if n == 1 else map_tensors(partial(_repeat, n=n), value)


def _repeat(value: Tensor, n: int) -> Tensor:
    return value.expand(n, *value.shape).flatten(0, 1)
