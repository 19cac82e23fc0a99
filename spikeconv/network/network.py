"""The spiking network: a program with its layers and neurons, as one module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor

from spikeconv.calibrate.inputs import Batch, Inputs
from spikeconv.early_exit import Exit, check_confidence
from spikeconv.fuse.simulation import FusedSimulation
from spikeconv.network.analog import Observer, run_analog
from spikeconv.network.assembly import Assembly
from spikeconv.network.calls import given, sizes_told
from spikeconv.network.confident import run_until_confident
from spikeconv.network.graph import Graphable
from spikeconv.network.limits import INTEGER_STEPS, images_at_once, steps_at_once
from spikeconv.network.measured import measured_report
from spikeconv.network.monitor import Monitor, monitor_of, monitoring
from spikeconv.network.operations import Operations
from spikeconv.network.report import Report, warn_of_silent_layers
from spikeconv.network.simulation import Simulation
from spikeconv.network.stream import Stream, StreamedSimulation, check_streams
from spikeconv.network.structure import concatenated
from spikeconv.network.synapses import count_operations
from spikeconv.network.timing import check_steps

READOUTS = ("mean", "all")

# Of a call whose inputs are all given by name.
_MISSING = object()

# Images as a user gives them where one argument stands for all inputs.
Images: TypeAlias = Tensor | Inputs | Sequence[Tensor] | Mapping[str, Tensor]


class SpikingNetwork(Assembly, Graphable):
    """A converted network: T time-steps of integrate-and-fire neurons in one call.

    The image is the input current, the same at every step (direct coding). What is the same at
    every step is computed once, and so is what is linear after the last neuron, on the mean of its
    spikes; both are exact. No state is kept between calls. `trainable` lets it learn; batch norm
    that could not be folded keeps its statistics then too. torch.compile and torch.export take it
    as one graph for any number of images; there all steps run at once.

    `convert` and `SpikingResNet.from_ann` make one.

    Attributes:
        T: time-steps of a call that does not say, those before the readout included.
        timing: which of them are read, and what the others are for.
        neurons: the `IFNode` of every call site of an activation, by name; their hooks do nothing.
    """

    def forward(
        self,
        x: Any = _MISSING,
        /,
        *more: Tensor,
        T: int | None = None,
        readout: str = "mean",
        **named: Tensor,
    ) -> Any:
        """Run the network.

        Args:
            x, more: images ``[B, *]``, as the ANN takes them: what it was calibrated with, in the
                order of its forward's arguments, each the same at every step. An image with NaN or
                infinity in it gives NaN logits.
            T: time-steps >= 1, default ``self.T``.
            readout: ``"mean"`` for the output on the mean over the steps that `timing` reads,
                ``"all"`` for what would be answered after every step: the output on the mean of
                the steps read so far; before the first of them, on that of all steps so far since
                the neurons last started anew. COS's steps show the network without COS.
            named: inputs by the names of the ANN's arguments.

        Returns:
            What the ANN does (dicts of any kind as dict): ``[B, *]``, or ``[T, B, *]`` for "all".

        Raises:
            TypeError, ValueError: naming the argument; T leaves no step to read.
        """
        batch = self._given(more if x is _MISSING else (x, *more), named)
        steps = self._check_steps(T)
        if readout not in READOUTS:
            raise ValueError(
                f"SpikingNetwork: readout must be one of {', '.join(map(repr, READOUTS))}, "
                f"got {readout!r}"
            )
        if self._form is not None and torch.compiler.is_compiling():
            # A compiler gains nothing in integer kernels: it takes what is around them.
            return torch.compiler.disable(self._in_parts)(batch, steps, readout)
        if torch.compiler.is_compiling():  # the graph is for any number of images
            run = self._mean if readout == "mean" else self._running_means
            return run(batch, steps)
        return self._in_parts(batch, steps, readout)

    def _in_parts(self, batch: Batch, steps: int, readout: str) -> Any:
        run = self._mean if readout == "mean" else self._running_means
        with sizes_told(self.program, batch):
            if self._form is not None:
                self._check_fused_inputs(batch)
            at_once = self.images_at_once(batch, steps, trains=readout == "all")
            parts = batch.split(at_once) if len(batch) else (batch,)
            outputs = [run(part, steps) for part in parts]
        return concatenated(outputs, 0 if readout == "mean" else 1)

    def _given(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> Batch:
        return given(self.program, inputs, named, next(self.layers.parameters(), None))

    def _mean(self, x: Batch, T: int) -> Any:
        return self._simulation(x, T).mean_output(T, self.steps_at_once(x, T, counts=True))

    def _running_means(self, x: Batch, T: int) -> Any:
        return concatenated(self._simulation(x, T).running_outputs(T, self.steps_at_once(x, T)))

    def _simulation(self, x: Batch, T: int) -> Simulation:
        parts = self.program, self.layers, self.populations(), self.weights()
        given = *parts, x, self.timing, monitor_of(self)
        form = self.integers
        if form is None:
            return Simulation(*given)
        plan, engine = form.for_run(T, x)
        return FusedSimulation(*given, plan, engine) if plan.in_integers else Simulation(*given)

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
        chunk = check_steps("SpikingNetwork.exit_early", "chunk", chunk, most=None)
        monitor = monitor_of(self)
        if monitor is not None and monitor.keep_counts:
            raise ValueError(
                "SpikingNetwork.exit_early: keep_counts must be False of a monitor around it, "
                "because images leave before the counts are whole; got True"
            )
        with sizes_told(self.program, batch):
            at_once = self.images_at_once(batch, min(chunk, steps), trains=True)
            parts = batch.split(at_once) if len(batch) else (batch,)
            exits = [
                run_until_confident(
                    self._simulation(part, steps),
                    steps,
                    min(chunk, self.steps_at_once(part, steps)),
                    confidence,
                )
                for part in parts
            ]
            return Exit(*map(torch.cat, zip(*exits, strict=True)))

    def stream(self) -> Stream:
        """Run the network one step at a time, on inputs that may differ at every step.

        Returns:
            A `Stream`, whose state is its own: any number of them may run side by side, and calls
            of the network beside them.

        Raises:
            ValueError: the network's timing has COS, whose steps need inputs that come later.

        Example:
            >>> from torch import nn
            >>> from spikeconv.convert import convert
            >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            >>> images = torch.rand(32, 4)
            >>> snn = convert(ann, images, T=8, progress=False)
            >>> stream = snn.stream()
            >>> for t in range(8):
            ...     logits = stream.step(images)
            >>> torch.equal(logits, snn(images, readout="all")[-1])
            True
        """
        check_streams(self.timing)
        self._check_not_fused("stream", "stream")

        def begin(x: Batch) -> StreamedSimulation:
            return StreamedSimulation(
                self.program, self.layers, self.populations(), self.weights(), x, self.timing
            )

        def told(x: Batch) -> AbstractContextManager[None]:
            return sizes_told(self.program, x)

        return Stream(begin, self._given, lambda: monitor_of(self), told)

    def analog(self, x: Images, observe: Observer | None = None) -> Any:
        """The same network as an ANN: every neuron is the rectifier that it stands for.

        Args:
            x: images ``[B, *]``; of several inputs a tuple, or a dict by the arguments' names.
            observe: called with every neuron's name, pre-activation and activation ``[B, *]``.
        """
        layers = {**self.layers, **self.originals}
        batch = self._given((x,), {})
        with sizes_told(self.program, batch):
            return run_analog(self.program, layers, self.weights(), batch, observe)

    def images_at_once(self, x: Batch, T: int, *, trains: bool = False) -> int:
        """Images that run together: `spikeconv.network.limits`."""
        monitor = monitor_of(self)
        if monitor is not None and monitor.keep_counts:
            return max(1, len(x))
        whole = self._whole(x, T)
        return images_at_once(self.program, x, T, self.timing, whole=whole, trains=trains)

    def steps_at_once(self, x: Batch, T: int, *, counts: bool = False) -> int:
        """Time-steps that run together; with `counts`, only sums over time are read out."""
        if self._form is None:  # whose changes a simulation looks for
            return steps_at_once(self.program, x)
        plan, engine = self._form.for_run(T, x)
        as_bits = counts and self.timing.before == 0 and self._whole(x, T) and engine.packs
        most = INTEGER_STEPS if plan.whole else engine.most_steps if plan.in_integers else None
        return steps_at_once(self.program, x, most=most, as_bits=as_bits)

    def _whole(self, x: Batch, T: int) -> bool:
        """Whether all that changes in time stays in integers, which a monitor would read."""
        form = self._form
        return form is not None and monitor_of(self) is None and form.for_run(T, x)[0].whole

    @contextmanager
    def monitor(self, keep_counts: bool = False) -> Iterator[Monitor]:
        """Count the spikes of the calls made inside the block; this costs time.

        Calls in other threads and of copies are not counted; the innermost of nested blocks counts.

        Args:
            keep_counts: also keep every neuron's net count, in ``counts``.
        """
        with monitoring(self, Monitor(keep_counts)) as monitor:
            yield monitor

    def report(self, x: Images | None = None) -> Report:
        """What conversion did, layer by layer: thresholds, firing, and the error against the ANN.

        Args:
            x: images to measure on, 1 or more, of several inputs a tuple or a dict; without, the
                figures are those of the calibration images. `paths` of a fused network are those
                of a call with such images and ``self.T``.
        """
        if x is None:
            return self._with_paths(self._report)
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
        report = measured_report(
            self._report,
            self.program,
            self.populations(),
            activations,
            monitor,
            self.operations(monitor),
            T=self.T,
            images=len(x),
            timing=self.timing,
            dead_channels=dead_channels,
        )
        return self._with_paths(report, x)

    def operations(self, monitor: Monitor) -> Operations:
        """What the layers with weights computed in the calls that a monitor of this network saw."""
        return count_operations(self.program, self.layers, self.weights(), monitor)

    def _check_steps(self, T: int | None) -> int:
        steps = self.T if T is None else check_steps("SpikingNetwork", "T", T)
        self.timing.steps_read(steps)
        return steps
