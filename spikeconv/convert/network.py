"""The spiking network: a program with its layers and neurons, as one module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, Inputs, tensors_of
from spikeconv.convert.analog import Observer, run_analog
from spikeconv.convert.calls import given
from spikeconv.convert.confident import run_until_confident
from spikeconv.convert.monitor import Monitor
from spikeconv.convert.program import Program, map_tensors
from spikeconv.convert.report import Report, kept_analog, layer_report, warn_of_silent_layers
from spikeconv.convert.simulation import Simulation
from spikeconv.convert.timing import Timing, check_steps
from spikeconv.convert.trainable import make_trainable
from spikeconv.early_exit import Exit, check_confidence
from spikeconv.neuron import IFNode
from spikeconv.surrogate import ATan, Surrogate

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
    spikes; both are exact. No state is kept between calls. `trainable` lets it learn; batch norm
    that could not be folded keeps its statistics then too.

    `convert` and `SpikingResNet.from_ann` make one.

    Attributes:
        T: time-steps of a call that does not say, those before the readout included.
        timing: which of them are read, and what the others are for.
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
        timing: Timing | None = None,
        refitted: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.check_program(program)
        self.program = program
        refitted = refitted or {}
        self.layers = nn.ModuleDict({**layers, **refitted})
        # The ANN's own layers where calibration changed weights, to compare with.
        self.originals = nn.ModuleDict({name: layers[name] for name in refitted})
        self.neurons = nn.ModuleDict(neurons)
        for name, value in constants.items():
            self.register_buffer(f"constant_{name}", value)
        self.T = T
        self.timing = Timing() if timing is None else timing
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
            readout: ``"mean"`` for the output on the mean over the steps that `timing` reads,
                ``"all"`` for what would be answered after every step: the output on the mean of
                the steps read so far; before the first of them, on that of all steps so far since
                the neurons last started anew. COS's steps show the network without COS.
            named: inputs by the names of the ANN's arguments.

        Returns:
            The ANN's output structure, with tensors ``[B, *]``, or ``[T, B, *]`` for ``"all"``.

        Raises:
            TypeError, ValueError: naming the argument; T leaves no step to read.
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
        return given(self.program, inputs, named, next(self.layers.parameters(), None))

    def _mean(self, x: Batch, T: int) -> Any:
        return self._simulation(x).mean_output(T, self.steps_at_once(x))

    def _running_means(self, x: Batch, T: int) -> Any:
        chunks = list(self._simulation(x).running_outputs(T, self.steps_at_once(x)))
        return map_tensors(lambda *ys: torch.cat(ys), *chunks)

    def _simulation(self, x: Batch) -> Simulation:
        return Simulation(
            self.program,
            self.layers,
            self.populations(),
            self.weights(),
            x,
            self.timing,
            self._monitor,
        )

    def exit_early(
        self, x: Images, confidence: float, T: int | None = None, chunk: int = 1
    ) -> Exit:
        """Run each image until the network is sure of it, and no further.

        What `spikeconv.early_exit` reads from ``readout="all"``, without running what it does not
        read. The bits are the same where a layer gives an image the same bits in a smaller batch.

        Args:
            x: images ``[B, *]``; of several inputs a tuple, or a dict by the arguments' names.
            confidence: largest softmax value of the logits so far at which an image is answered,
                above 0, at most 1. It may be reached before the readout begins.
            T: time-steps >= 1 after which every image is answered, default ``self.T``.
            chunk: steps >= 1 between two looks; an image is answered as of the step at which it
                was sure, but takes part in its chunk to the end. COS looks at its steps at once.

        Returns:
            ``(logits, steps)``: ``[B, C]``, and int64 ``[B]``, those before the readout included.

        Raises:
            TypeError, ValueError: naming the argument; the output is not logits ``[B, C]``.
        """
        batch = self._given((x,), {})
        steps = self._check_steps(T)
        check_confidence("SpikingNetwork.exit_early", confidence)
        check_steps("SpikingNetwork.exit_early", "chunk", chunk)
        if self._monitor is not None and self._monitor.keep_counts:
            raise ValueError(
                "SpikingNetwork.exit_early: keep_counts must be False of a monitor around it, "
                "because images leave before the counts are whole; got True"
            )
        at_once = self.images_at_once(batch, min(chunk, steps))
        parts = batch.split(at_once) if len(batch) else (batch,)
        exits = (
            run_until_confident(
                self._simulation(part), steps, min(chunk, self.steps_at_once(part)), confidence
            )
            for part in parts
        )
        return Exit(*map(torch.cat, zip(*exits, strict=True)))

    def analog(self, x: Images, observe: Observer | None = None) -> Any:
        """The same network as an ANN: every neuron is the rectifier that it stands for.

        Args:
            x: images ``[B, *]``; of several inputs a tuple, or a dict by the arguments' names.
            observe: called with every neuron's name, pre-activation and activation ``[B, *]``.
        """
        layers = {**self.layers, **self.originals}
        batch = self._given((x,), {})
        return run_analog(self.program, layers, self.weights(), batch, observe)

    def images_at_once(self, x: Batch, T: int) -> int:
        """Images that run together: on a CPU so many that all their steps stay in its cache.

        Elsewhere all, or so many that COS's steps, which cannot be run in chunks, fit in memory.
        """
        whole = self._monitor is not None and self._monitor.keep_counts
        if whole or torch.compiler.is_compiling():
            return max(1, len(x))
        if tensors_of(x)[0].device.type == "cpu":
            values = _VALUES_IN_CACHE * torch.get_num_threads()
            return max(1, int(values / (self.program.widest_for(x) * T)))
        cos = max(1, self.timing.cos)
        return max(1, min(len(x), int(_VALUES_AT_ONCE / (self.program.widest_for(x) * cos))))

    def steps_at_once(self, x: Batch) -> int:
        """Time-steps that run together for such a batch; more are run in chunks, v handed over."""
        return max(1, int(_VALUES_AT_ONCE / (self.program.widest_for(x) * max(1, len(x)))))

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

    def trainable(
        self,
        surrogate: Surrogate | nn.Module | None = None,
        *,
        detach_reset: bool = False,
        thresholds: bool = False,
    ) -> SpikingNetwork:
        """Let gradients flow through the neurons, and want them for the weights of all layers.

        With h the surrogate and theta a population's mean threshold::

            ds/dm = h((m - v_threshold) / theta) / theta

        The answers stay what they were. Outside of `torch.no_grad` a call keeps what its backward
        pass needs.

        Args:
            surrogate: derivative of a spike of neurons with a threshold of 1: one of
                `spikeconv.surrogate`, or SpikingJelly's, as in `IFNode`. None: ``ATan()``.
            detach_reset: take no gradient through the spikes that reset the potential.
            thresholds: make every population's threshold a parameter too. One that training drives
                to 0 or below is an error of the next call.

        Returns:
            The network itself.

        Raises:
            ValueError: neurons are signed; their spikes have no gradient.
            TypeError: an argument of a wrong type.

        Example:
            >>> from spikeconv.convert import convert
            >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            >>> snn = convert(ann, torch.rand(32, 4), T=4, progress=False).trainable()
            >>> snn(torch.rand(2, 4)).sum().backward()
            >>> sum(parameter.grad is not None for parameter in snn.parameters())
            4
        """
        make_trainable(
            self.layers,
            self.populations(),
            ATan() if surrogate is None else surrogate,
            detach_reset,
            thresholds,
        )
        return self

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
        warn_of_silent_layers(self._report.rows)

    def _measure(self, x: Images, dead_channels: dict[str, int]) -> Report:
        x = self._given((x,), {})
        activations: dict[str, Tensor] = {}
        with torch.no_grad():
            self.analog(x, lambda name, before, after: activations.update({name: after}))
            with self.monitor(keep_counts=True) as monitor:
                self(x)
        read = self.timing.steps_read(self.T)
        rows = [
            layer_report(
                step.name,
                step.label,
                self.populations()[step.name],
                activations[step.name],
                monitor,
                read,
                dead_channels[step.name],
            )
            for step in self.program.neurons()
        ]
        return replace(
            self._report,
            rows=tuple(rows),
            T=self.T,
            images=len(x),
            settings=_without_timing(self._report.settings) | self.timing.settings(),
            analog=kept_analog(self.program),
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
        steps = self.T if T is None else check_steps("SpikingNetwork", "T", T)
        self.timing.steps_read(steps)
        return steps

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (f"T={self.T}", str(self.timing))))


def _without_timing(settings: dict[str, Any]) -> dict[str, Any]:
    """What a report said, less what the network's timing may have become since."""
    return {name: value for name, value in settings.items() if name not in asdict(Timing())}
