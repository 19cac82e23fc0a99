"""A run one step at a time: inputs that differ at every step, and an answer after each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor

from spikeconv.calibrate.inputs import Batch, batch_of, image_shapes, tensors_of
from spikeconv.network.monitor import Monitor
from spikeconv.network.program import Phase, refs
from spikeconv.network.simulation import Simulation
from spikeconv.network.structure import map_tensors
from spikeconv.network.timing import MOST_STEPS, Stage, Timing

Given: TypeAlias = Callable[[Sequence[Any], Mapping[str, Any]], Batch]


def check_streams(timing: Timing) -> None:
    """Raise ValueError where a run of such a timing looks at inputs before their step."""
    if timing.cos:
        raise ValueError(
            "SpikingNetwork.stream: the network's timing must have cos=0, because COS finds its "
            f"initial potentials from the inputs of steps to come, got {timing}; set "
            f"snn.timing = Timing(delay={timing.delay}, srp={timing.srp}) or call the network"
        )


class StreamedSimulation(Simulation):
    """A run that goes on step by step, without an end, on inputs that may change.

    What a call of the network computes once, because no neuron comes before it, is computed for
    every step's input. Where the readout reads such a value, it reads its mean over time, as it
    does of spikes.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        read = refs((self.program.output, [s.args for s in self.program.phase(Phase.READOUT)]))
        also = refs([s.kwargs for s in self.program.phase(Phase.READOUT)])
        self._beside = {ref.name for ref in (*read, *also)} & self.fixed.keys()
        self._stages = iter(self.timing.stages(sys.maxsize, every_step=True))
        # Whether the monitor knows of the coming step already, and whether that has its own inputs.
        self._begins, self._fed = True, False
        self._start(next(self._stages))

    def _start(self, stage: Stage) -> None:
        super()._start(stage)
        self._means: dict[str, Any] = {}

    def feed(self, x: Batch) -> None:
        """Take the inputs of the steps to come; a broken image stays broken."""
        bad = self.bad
        self._fix(x)
        self.bad = bad + self.bad
        self._fed = True

    def watch(self, monitor: Monitor | None) -> None:
        """Let a monitor, or none, count the steps to come; one that counts them already goes on."""
        before = None if self.monitored is None else self.monitored.monitor
        if before is not monitor:
            self.monitored = None if monitor is None else monitor.begin(self.inputs)
            self._begins = monitor is not None

    def step(self) -> Any:
        """Run one step: the output ``[B, *]`` on the mean of the steps so far."""
        if self.monitored is not None and not self._begins:
            self.monitored.go_on(self.batch, fed=self._fed)
        self._begins = self._fed = False
        if self.done == self.stage.steps:
            if self.stage.silences:
                self._silence()
            self._start(next(self._stages))
        self._average()
        return map_tensors(lambda y: y[0], self._running_output(1, last=False))

    def keep(self, images: Tensor) -> None:
        """Go on with these images of the batch only."""
        bad = self.bad[images]
        super().keep(images)
        self.bad = bad
        self._means = map_tensors(lambda mean: mean[images], self._means)

    def _average(self) -> None:
        """Add this step's values to the means that the readout reads; of equal ones to the bit."""
        if self.done == self.stage.delay:
            self._means = {}
        steps = self.done + 1 - (self.stage.delay if self.done >= self.stage.delay else 0)

        def average(value: Tensor, mean: Tensor) -> Tensor:
            if not value.is_floating_point():
                return value
            value = value.double()
            return torch.where(value == mean, mean, mean + (value - mean) / steps)

        for name in self._beside:
            value = self.fixed[name]
            before = self._means.get(name, map_tensors(_wide, value))
            self._means[name] = map_tensors(average, value, before)

    def _mean_fixed(self, name: str) -> Any:
        return map_tensors(lambda x, mean: mean.to(x.dtype), self.fixed[name], self._means[name])


def _wide(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


class Stream:
    """A spiking network that is fed one time-step at a time; `SpikingNetwork.stream` makes one.

    Of the same input at every step, the output after step t is that of
    ``snn(x, readout="all")[t - 1]``, delay and SRP included, to the bit where a layer gives an
    image the same bits in another batch size (always where its sums are exact). Inputs may differ
    at every step, as those of an event camera do: each is the current of its step, and the output
    is the readout on the mean over the steps that are read.

    It holds the neurons' state for its batch, and no more however many steps it runs. No gradient
    flows through it. To copy or pickle one is a TypeError.

    Example:
        Each image leaves once the network is sure of it.

        >>> from spikeconv.convert import convert
        >>> ann = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
        >>> snn = convert(ann, torch.rand(32, 4), T=4, progress=False)
        >>> stream = snn.stream()
        >>> for t in range(4):
        ...     spikes = (torch.rand(2, 4) < 0.5).float()
        ...     activations = stream.step(spikes)
        >>> stream.T, activations.shape
        (4, torch.Size([2, 8]))
        >>> stream.keep(torch.tensor([1]))  # the first one is answered
        >>> stream.step(spikes[1:]).shape
        torch.Size([1, 8])
    """

    def __init__(
        self,
        begin: Callable[[Batch], StreamedSimulation],
        given: Given,
        monitor: Callable[[], Monitor | None],
        told: Callable[[Batch], AbstractContextManager[None]],
    ) -> None:
        self._begin = begin
        self._given = given
        self._monitor = monitor
        self._told = told
        self.reset()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "Stream: a stream cannot be copied or pickled, because it runs a network that is not "
            "part of it; begin another with stream() of the network or of a copy of that"
        )

    @property
    def T(self) -> int:
        """Steps since the beginning, those before the readout included."""
        return self._steps

    def reset(self) -> None:
        """Forget all state: the next step is the first one again, of any batch."""
        self._run: StreamedSimulation | None = None
        self._steps = 0
        self._failed = False

    @torch.no_grad()
    def step(self, *inputs: Tensor, **named: Tensor) -> Any:
        """Run one time-step.

        Args:
            inputs: of this step ``[B, *]``, as `SpikingNetwork` takes them; none for those of the
                step before, of which nothing is computed again.
            named: inputs by the names of the ANN's arguments.

        Returns:
            What would be answered now ``[B, *]``: the output on the mean of the steps read so far;
            before the first of them, on that of all steps so far since the neurons last started
            anew. An image with NaN or infinity in it is answered NaN from then on.

        Raises:
            TypeError, ValueError: naming the argument; the shape is not that of the steps before.
            RuntimeError: the step before failed in a layer, and `reset` was not called since.
        """
        if self._steps >= MOST_STEPS:
            raise ValueError(
                f"Stream: T must be at most {MOST_STEPS}, because spikes are counted in float32; "
                "call reset() and begin anew"
            )
        if self._failed:
            raise RuntimeError(
                "Stream: the step before failed half-way, so the state is none; call reset()"
            )
        run = self._run
        feeds = bool(inputs or named)
        if feeds:
            x = batch_of(tensor.clone() for tensor in tensors_of(self._given(inputs, named)))
        elif run is not None:
            x = run.inputs
        else:
            raise TypeError("Stream: the first step must have inputs, got none")
        if run is not None:
            _check_shapes(x, run.inputs)
        self._failed = True
        with self._told(x):
            if run is None:
                run = self._begin(x)
            elif feeds:
                run.feed(x)
            run.watch(self._monitor())
            output = run.step()
        self._run, self._failed = run, False
        self._steps += 1
        return output

    def keep(self, images: Tensor) -> None:
        """Go on with some images of the batch only, because the others are answered.

        Args:
            images: int64 indices, or bool ``[B]``. Later steps take inputs of these, in this order.

        Raises:
            TypeError, ValueError: these are no images of the batch, or there was no step yet.
        """
        if self._run is None:
            raise ValueError("Stream.keep: there must be a step before, which has images")
        batch = self._run.batch
        kinds = (torch.bool, torch.int64)
        if not isinstance(images, Tensor) or images.dim() != 1 or images.dtype not in kinds:
            got = f"{images.dtype} {list(images.shape)}" if isinstance(images, Tensor) else images
            raise TypeError(f"Stream.keep: images must be int64 [*] or bool [{batch}], got {got}")
        if images.dtype == torch.bool and len(images) == batch:
            images = images.nonzero().flatten()
        elif images.dtype == torch.bool or not bool(((images >= 0) & (images < batch)).all()):
            raise ValueError(f"Stream.keep: images must be of the {batch} there are, got {images}")
        self._run.keep(images)


def _check_shapes(x: Batch, before: Batch) -> None:
    """Raise ValueError where a batch is not of the shape of the one before."""
    if len(x) == len(before) and image_shapes(x) == image_shapes(before):
        return
    shapes = [", ".join(str(list(t.shape)) for t in tensors_of(batch)) for batch in (before, x)]
    raise ValueError(
        f"Stream: the inputs must be of shape {shapes[0]} as at the steps before, got {shapes[1]}; "
        "call reset() to begin anew, or keep() to go on with some of the images"
    )
