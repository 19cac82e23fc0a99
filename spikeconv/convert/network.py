"""The spiking network: a program with its layers and neurons, as one module."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, Inputs, tensors_of
from spikeconv.convert.analog import Observer, run_analog
from spikeconv.convert.given import given, nan_where_bad
from spikeconv.convert.monitor import Monitor
from spikeconv.convert.program import Program, map_tensors
from spikeconv.convert.report import KeptAnalog, Report, layer_report
from spikeconv.convert.simulation import Simulation
from spikeconv.neuron import IFNode

READOUTS = ("mean", "all")

# Images as a user gives them where one argument stands for all inputs.
Images: TypeAlias = Tensor | Inputs | Sequence[Tensor] | Mapping[str, Tensor]

# Steps that run at once hold about so many values of the widest layer: a gigabyte in float32
# together with its input and output, however large T is.
_VALUES_AT_ONCE = 2**26

# On a CPU, more images are run a few at a time, so that what one layer writes the next one finds in
# the cache, and the allocator need not fetch fresh pages: 4 MB a tensor and thread was the fastest
# of 1 to 64 MB for ResNet-20 (one thread 308 ms against 774 ms, two 206 ms against 482 ms).
_VALUES_IN_CACHE = 2**20


class SpikingNetwork(nn.Module):
    """A converted network: T time-steps of integrate-and-fire neurons in one call.

    The image is the input current, the same at every step (direct coding). What is the same at
    every step is computed once, and so is what is linear after the last neuron, on the mean of its
    spikes; both are exact. No state is kept between calls. It has no training mode.

    `convert` and `SpikingResNet.from_ann` make one.

    Attributes:
        T: time-steps of a call that does not say.
        neurons: the `IFNode` of every call site of an activation, by name.
    """

    def __init__(
        self,
        program: Program,
        layers: dict[str, nn.Module],
        neurons: dict[str, IFNode],
        constants: dict[str, Tensor],
        T: int,
        report: Report,
    ) -> None:
        super().__init__()
        self.check_program(program)
        self.program = program
        self.layers = nn.ModuleDict(layers)
        self.neurons = nn.ModuleDict(neurons)
        for name, value in constants.items():
            self.register_buffer(f"constant_{name}", value)
        self.T = T
        self._report = report
        self._monitor: Monitor | None = None
        self.eval()

    @classmethod
    def check_program(cls, program: Program) -> None:
        """Raise TypeError where a subclass does not stand for such a network."""

    def train(self, mode: bool = True) -> SpikingNetwork:
        """Stay in evaluation mode: batch norm that could not be folded must keep its statistics."""
        return super().train(False)

    def forward(
        self, *inputs: Tensor, T: int | None = None, readout: str = "mean", **named: Tensor
    ) -> Any:
        """Run the network.

        Args:
            inputs: images ``[B, *]``, as the ANN takes them: what it was calibrated with, in the
                order of its forward's arguments, each the same at every step. An image with NaN or
                infinity in it gives NaN logits.
            T: time-steps >= 1, default ``self.T``.
            readout: ``"mean"`` for the output on the mean over all steps, ``"all"`` for the output
                on the mean of the steps so far, after every step.
            named: inputs by the names of the ANN's arguments.

        Returns:
            The ANN's output structure, with tensors ``[B, *]``, or ``[T, B, *]`` for ``"all"``.

        Raises:
            TypeError, ValueError: naming the argument.
        """
        x = self._given(inputs, named)
        steps = self._check_steps(T)
        if readout not in READOUTS:
            raise ValueError(
                f"SpikingNetwork: readout must be one of {', '.join(map(repr, READOUTS))}, "
                f"got {readout!r}"
            )
        parts = x.split(self.images_at_once(x, steps)) if len(x) else (x,)
        run = self._mean if readout == "mean" else self._running_means
        outputs = [run(part, steps) for part in parts]
        return map_tensors(lambda *ys: torch.cat(ys, 0 if readout == "mean" else 1), *outputs)

    def _given(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> Batch:
        weight = next(self.layers.parameters(), None)
        return given(self.program, inputs, named, weight)

    def _mean(self, x: Batch, T: int) -> Any:
        output = self._simulation(x).mean_output(T, self.steps_at_once(x))
        return map_tensors(lambda y: y + nan_where_bad(x, y), output)

    def _running_means(self, x: Batch, T: int) -> Any:
        chunks = list(self._simulation(x).running_outputs(T, self.steps_at_once(x)))
        return map_tensors(lambda *ys: torch.cat(ys) + nan_where_bad(x, ys[0][0]), *chunks)

    def _simulation(self, x: Batch) -> Simulation:
        return Simulation(
            self.program, self.layers, self.populations(), self.weights(), x, self._monitor
        )

    def analog(self, x: Images, observe: Observer | None = None) -> Any:
        """The same network as an ANN: every neuron is the rectifier that it stands for.

        Args:
            x: images ``[B, *]``; of several inputs a tuple, or a dict by the arguments' names.
            observe: called with every neuron's name, pre-activation and activation ``[B, *]``.
        """
        batch = self._given((x,), {})
        return run_analog(self.program, self.layers, self.weights(), batch, observe)

    def images_at_once(self, x: Batch, T: int) -> int:
        """Images that run together: on a CPU so many that all their steps stay in its cache."""
        whole = self._monitor is not None and self._monitor.keep_counts
        if tensors_of(x)[0].device.type != "cpu" or whole or torch.compiler.is_compiling():
            return len(x)
        values = _VALUES_IN_CACHE * torch.get_num_threads()
        return max(1, int(values / (self._widest(x) * T)))

    def steps_at_once(self, x: Batch) -> int:
        """Time-steps that run together for such a batch; more are run in chunks, v handed over."""
        return max(1, int(_VALUES_AT_ONCE / (self._widest(x) * max(1, len(x)))))

    def _widest(self, x: Batch) -> float:
        """Values of one image of x in the widest layer."""
        scale = max(
            math.prod(tensor.shape[1:]) / max(1, math.prod(item.shape))
            for tensor, item in zip(tensors_of(x), self.program.inputs, strict=True)
        )
        return max(1.0, self.program.widest * scale)

    @contextmanager
    def monitor(self, keep_counts: bool = False) -> Iterator[Monitor]:
        """Count the spikes of the calls made inside the block; this costs time.

        Args:
            keep_counts: also keep every neuron's net count, in ``counts``.
        """
        outer, self._monitor = self._monitor, Monitor(keep_counts)
        try:
            yield self._monitor
        finally:
            self._monitor = outer

    def report(self, x: Images | None = None) -> Report:
        """What conversion did, layer by layer: thresholds, firing, and the error against the ANN.

        Args:
            x: images to measure on; without, the figures measured on calibration images when the
                network was converted.
        """
        if x is None:
            return self._report
        return self._measure(x, {row.name: row.dead_channels for row in self._report.rows})

    def describe(self, x: Images, dead_channels: dict[str, int]) -> None:
        """Set what `report()` says from a measurement on images x."""
        self._report = self._measure(x, dead_channels)
        for row in self._report.rows:
            if row.dead_channels == (row.shape[0] if row.shape else 1):
                warnings.warn(
                    f"convert: activation {row.layer!r} was never active in calibration, so its "
                    "threshold is a guess; it stays silent unless other images wake it",
                    stacklevel=2,
                )

    def _measure(self, x: Images, dead_channels: dict[str, int]) -> Report:
        x = self._given((x,), {})
        activations: dict[str, Tensor] = {}
        with torch.no_grad():
            self.analog(x, lambda name, before, after: activations.update({name: after}))
            with self.monitor(keep_counts=True) as monitor:
                self(x)
        rates, never = monitor.firing_rates(), monitor.never_fired()
        rows = [
            layer_report(
                name=step.name,
                layer=step.label,
                node=self.populations()[step.name],
                activation=activations[step.name],
                count=monitor.counts[step.name],
                T=self.T,
                firing_rate=rates[step.name],
                never_fired=never[step.name],
                dead_channels=dead_channels[step.name],
            )
            for step in self.program.neurons()
        ]
        return Report(tuple(rows), self.T, len(x), self._report.settings, self._kept_analog())

    def _kept_analog(self) -> tuple[KeptAnalog, ...]:
        return tuple(
            KeptAnalog(step.analog, step.label, step.phase.value)
            for step in self.program.steps
            if step.analog
        )

    def populations(self) -> Mapping[str, IFNode]:
        """`neurons`, as what they are."""
        return cast(Mapping[str, IFNode], self.neurons)

    def weights(self) -> dict[str, Tensor]:
        """Weights that functions read, by name of their step."""
        prefix = "constant_"
        return {
            name.removeprefix(prefix): value
            for name, value in self._buffers.items()
            if value is not None and name.startswith(prefix)
        }

    def _check_steps(self, T: int | None) -> int:
        if T is None:
            return self.T
        if isinstance(T, bool) or not isinstance(T, int):
            raise TypeError(f"SpikingNetwork: T must be an integer, got {type(T).__name__}")
        if T < 1:
            raise ValueError(f"SpikingNetwork: T must be at least 1, got {T}")
        return T

    def extra_repr(self) -> str:
        return f"T={self.T}"
