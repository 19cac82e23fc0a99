"""The spiking network: a program with its layers and neurons, as one module."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikeconv.convert.analog import Observer, run_analog
from spikeconv.convert.confident import run_until_confident
from spikeconv.convert.monitor import Monitor
from spikeconv.convert.program import Program, map_tensors
from spikeconv.convert.report import Report, layer_report
from spikeconv.convert.simulation import Simulation
from spikeconv.convert.timing import Timing, check_steps
from spikeconv.early_exit import Exit, check_confidence
from spikeconv.neuron import IFNode

READOUTS = ("mean", "all")

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

    def forward(self, x: Tensor, T: int | None = None, readout: str = "mean") -> Any:
        """Run the network.

        Args:
            x: images ``[B, *]``, as the ANN takes them. An image with NaN or infinity in it gives
                NaN logits.
            T: time-steps >= 1, default ``self.T``.
            readout: ``"mean"`` for the output on the mean over the steps that `timing` reads,
                ``"all"`` for what would be answered after every step: the output on the mean of
                the steps read so far; before the first of them, on that of all steps so far since
                the neurons last started anew. COS's steps show the network without COS.

        Returns:
            The ANN's output structure, with tensors ``[B, *]``, or ``[T, B, *]`` for ``"all"``.

        Raises:
            TypeError, ValueError: naming the argument; T leaves no step to read.
        """
        self._check_input(x)
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

    def _mean(self, x: Tensor, T: int) -> Any:
        return self._simulation(x).mean_output(T, self.steps_at_once(x))

    def _running_means(self, x: Tensor, T: int) -> Any:
        chunks = list(self._simulation(x).running_outputs(T, self.steps_at_once(x)))
        return map_tensors(lambda *ys: torch.cat(ys), *chunks)

    def _simulation(self, x: Tensor) -> Simulation:
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
        self, x: Tensor, confidence: float, T: int | None = None, chunk: int = 1
    ) -> Exit:
        """Run each image until the network is sure of it, and no further.

        What `spikeconv.early_exit` reads from ``readout="all"``, without running what it does not
        read. The bits are the same where a layer gives an image the same bits in a smaller batch.

        Args:
            x: images ``[B, *]``.
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
        self._check_input(x)
        steps = self._check_steps(T)
        check_confidence("SpikingNetwork.exit_early", confidence)
        check_steps("SpikingNetwork.exit_early", "chunk", chunk)
        if self._monitor is not None and self._monitor.keep_counts:
            raise ValueError(
                "SpikingNetwork.exit_early: keep_counts must be False of a monitor around it, "
                "because images leave before the counts are whole; got True"
            )
        parts = x.split(self.images_at_once(x, min(chunk, steps))) if len(x) else (x,)
        exits = (
            run_until_confident(
                self._simulation(part), steps, min(chunk, self.steps_at_once(part)), confidence
            )
            for part in parts
        )
        return Exit(*map(torch.cat, zip(*exits, strict=True)))

    def analog(self, x: Tensor, observe: Observer | None = None) -> Any:
        """The same network as an ANN: every neuron is the rectifier that it stands for.

        Args:
            x: images ``[B, *]``.
            observe: called with every neuron's name, pre-activation and activation ``[B, *]``.
        """
        self._check_input(x)
        layers = {**self.layers, **self.originals}
        return run_analog(self.program, layers, self.weights(), x, observe)

    def images_at_once(self, x: Tensor, T: int) -> int:
        """Images that run together: on a CPU so many that all their steps stay in its cache.

        Elsewhere all, or so many that COS's steps, which cannot be run in chunks, fit in memory.
        """
        whole = self._monitor is not None and self._monitor.keep_counts
        if whole or torch.compiler.is_compiling():
            return max(1, len(x))
        if x.device.type == "cpu":
            values = _VALUES_IN_CACHE * torch.get_num_threads()
            return max(1, int(values / (self._widest(x) * T)))
        cos = max(1, self.timing.cos)
        return max(1, min(len(x), int(_VALUES_AT_ONCE / (self._widest(x) * cos))))

    def steps_at_once(self, x: Tensor) -> int:
        """Time-steps that run together for such a batch; more are run in chunks, v handed over."""
        return max(1, int(_VALUES_AT_ONCE / (self._widest(x) * max(1, len(x)))))

    def _widest(self, x: Tensor) -> float:
        """Values of one image of x in the widest layer."""
        scale = math.prod(x.shape[1:]) / max(1, math.prod(self.program.input_shape))
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

    def report(self, x: Tensor | None = None) -> Report:
        """What conversion did, layer by layer: thresholds, firing, and the error against the ANN.

        Args:
            x: images to measure on; without, the figures measured on calibration images when the
                network was converted.
        """
        if x is None:
            return self._report
        return self._measure(x, {row.name: row.dead_channels for row in self._report.rows})

    def describe(self, x: Tensor, dead_channels: dict[str, int]) -> None:
        """Set what `report()` says from a measurement on images x."""
        self._report = self._measure(x, dead_channels)

    def _measure(self, x: Tensor, dead_channels: dict[str, int]) -> Report:
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
        settings = {**self._report.settings, **self.timing.settings()}
        return replace(self._report, rows=tuple(rows), T=self.T, images=len(x), settings=settings)

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

    def _check_input(self, x: Tensor) -> None:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            given = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"SpikingNetwork: x must be a floating-point tensor, got {given}")
        wanted = self.program.input_shape
        if x.dim() != len(wanted) + 1 or (x.dim() > 1 and x.shape[1] != wanted[0]):
            shape = ", ".join(["B", *map(str, wanted)])
            raise ValueError(
                f"SpikingNetwork: x must be a batch like [{shape}], got shape {list(x.shape)}"
            )
        weight = next(self.layers.parameters(), x)
        if x.device != weight.device:
            raise ValueError(
                f"SpikingNetwork: x must be on {weight.device} as the network is, got {x.device}"
            )
        if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(
                f"SpikingNetwork: x must be {weight.dtype} as the network is, got {x.dtype}"
            )

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (f"T={self.T}", str(self.timing))))
