"""Corrections in place: a run of the spiking network in which every layer is fitted in turn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from spikeconv.calibrate.correct import CORRECTIONS, WEIGHTS, WITHOUT_IMAGES
from spikeconv.calibrate.inputs import Batch, images_of
from spikeconv.calibrate.sample import LayerSample
from spikeconv.calibrate.weights import Refittable, missing_current, refit
from spikeconv.convert.feeding import feeding_layers, head
from spikeconv.convert.populate import Populations, rectifier
from spikeconv.network.analog import AnalogRun
from spikeconv.network.layers import Rectifier
from spikeconv.network.layerwise import LayerwiseRun
from spikeconv.network.limits import images_of_all_steps
from spikeconv.network.program import Program, Step
from spikeconv.network.run_step import constants_of
from spikeconv.network.segments import Segment, segments

# Corrections are fitted on so many images. On fewer, where a run of them would hold more values
# (`_values_kept`), which are a gigabyte, or have more work: values of the widest layer at all
# steps.
IMAGES = 512
_VALUES = 2**28
_WORK = 2**31
# Of every image and neuron of the widest population: the ANN's activation before and after, and for
# the regression the means of currents and inputs and copies of both.
_VALUES_A_NEURON = 7


def tuning_images(program: Program, T: int) -> int:
    """How many images corrections are fitted on, 1 or more."""
    memory = _VALUES // max(1, _values_kept(program, T))
    return max(1, min(IMAGES, memory, _WORK // max(1, program.widest * T)))


def _values_kept(program: Program, T: int) -> int:
    """About how many float32 values of an image are there at once, between populations."""
    shapes = {step.name: math.prod(step.shape) for step in program.steps}
    live: dict[str, float] = {}
    most = 0.0
    for segment in segments(program):
        kept = {name: float(T * shapes[name]) for name in segment.keeps}
        if segment.neuron is not None:
            kept[segment.neuron.name] = 2 * T / 32 * shapes[segment.neuron.name]  # bits, two a step
        live.update(kept)
        most = max(most, sum(live.values()))
        for name in segment.dead:
            live.pop(name, None)
    widest = max((shapes[step.name] for step in program.neurons()), default=0)
    return int(most) + _VALUES_A_NEURON * widest


def aims(layers: Mapping[str, nn.Module], T: int) -> dict[str, nn.Module]:
    """The layers of the network that neurons of T levels are to come near to.

    It is the ANN, but for activations that were trained with fewer levels than T: those are clipped
    and not rounded. The training's rounding made up for few steps; more of them tend to the clipped
    network, which is the more accurate one.
    """
    return {
        name: layer.without_levels()
        if isinstance(layer, Rectifier) and layer.levels is not None and layer.levels < T
        else layer
        for name, layer in layers.items()
    }


def tune(
    program: Program,
    layers: Mapping[str, nn.Module],
    populations: Populations,
    weights: Mapping[str, Tensor],
    x: Batch,
    T: int,
    corrections: Sequence[str],
    progress: bool,
) -> Populations:
    """The populations, corrected in the order in which they run.

    Args:
        program: of the network.
        layers: its layers by name, as `aims` has them.
        populations: as thresholds and initial potentials left them; not changed.
        weights: what functions read, by name.
        x: calibration images ``[B, *]``, `tuning_images` at most.
        T: time-steps that are read out.
        corrections: names from `CORRECTION_NAMES`, in their order.
        progress: show a progress bar.
    """
    if not corrections:
        return populations
    if not set(corrections) - WITHOUT_IMAGES:
        x = x[:1]  # for a run that goes by all populations; what it computes is not looked at
    tuning = _Tuning(program, layers, populations, weights, x, T, corrections)
    tuning.run(progress)
    return Populations(tuning.neurons, populations.dead, tuning.refitted)


@dataclass
class _Part:
    """Some of the images.

    Attributes:
        spiking: their run.
        analog: that of the ANN.
        wanted: the ANN's pre-activations of the population in question.
    """

    spiking: LayerwiseRun
    analog: AnalogRun
    wanted: Tensor


class _Tuning:
    """Fits each population when those before it are done.

    A layer's currents come from layers that were corrected before, so it can make up for what
    these still get wrong.
    """

    def __init__(
        self,
        program: Program,
        layers: Mapping[str, nn.Module],
        populations: Populations,
        weights: Mapping[str, Tensor],
        x: Batch,
        T: int,
        corrections: Sequence[str],
    ) -> None:
        self.program = program
        self.layers = dict(layers)
        self.neurons = dict(populations.neurons)
        self.T = T
        self.corrections = corrections
        self.images = images_of(x)
        self.refitted: dict[str, nn.Module] = {}
        self.feeding = feeding_layers(program, layers) if WEIGHTS in corrections else {}
        self.head = head(program, layers) if WEIGHTS in corrections else None
        constants = constants_of(program, layers, weights)
        self.parts = [
            _Part(
                LayerwiseRun(program, self.layers, self.neurons, constants, part, T, self.head),
                AnalogRun(program, layers, constants, part),
                torch.empty(0, device="cpu"),
            )
            for part in x.split(images_of_all_steps(program, x, T))
        ]

    def run(self, progress: bool) -> None:
        """Run all parts and fit everything on the way."""
        bar = tqdm(
            segments(self.program), "fitting", unit="layer", leave=False, disable=not progress
        )
        for segment in bar:
            if segment.neuron is None:
                self._end(segment)
                continue
            for part in self.parts:
                name, part.wanted, _ = next(part.analog)
                assert name == segment.neuron.name
            for correction in self.corrections:
                self._correct(correction, segment, segment.neuron.name)
            for part in self.parts:
                part.spiking.fire(segment)

    def _correct(self, name: str, segment: Segment, neuron: str) -> None:
        if name != WEIGHTS:
            self.neurons[neuron] = CORRECTIONS[name](self.neurons[neuron], self._sample(segment))
        elif neuron in self.feeding:
            self._refit_before(segment, self.feeding[neuron])

    def _sample(self, segment: Segment) -> LayerSample:
        """What reaches the population now."""
        assert segment.neuron is not None
        activate = rectifier(self.layers, segment.neuron.name)

        def parts() -> Iterator[tuple[Tensor, Tensor]]:
            for part in self.parts:
                current = part.spiking.current(segment).float()
                activation = activate(part.wanted).float()
                if activation.dim() == 1:  # one neuron an image
                    current, activation = current.unsqueeze(-1), activation.unsqueeze(-1)
                yield current, activation

        return LayerSample(self.T, self.images, segment.neuron.shape or (1,), parts)

    def _refit_before(self, segment: Segment, feeding: Step) -> None:
        """Refit the layer that feeds a population."""
        assert segment.neuron is not None
        cap = rectifier(self.layers, segment.neuron.name).cap
        given, missing = [], []
        for part in self.parts:
            mean, current = part.spiking.means(segment, feeding)
            given.append(mean)
            missing.append(missing_current(current, part.wanted.float(), cap))
        self._refit(feeding, _joined(given), _joined(missing))

    def _end(self, segment: Segment) -> None:
        """Refit the layer whose output is the network's."""
        if self.head is None:
            return
        given, missing = [], []
        for part in self.parts:
            output = part.spiking.output(segment)
            next(part.analog, None)  # on to its end, which sets the output
            assert part.spiking.head_given is not None
            given.append(part.spiking.head_given)
            missing.append(part.analog.output - output)
        self._refit(self.head, _joined(given), _joined(missing))

    def _refit(self, step: Step, x: Tensor, missing: Tensor) -> None:
        layer = cast(Refittable, self.layers[step.target])
        new = refit(layer, x, missing)
        if new is not layer:
            self.layers[step.target] = new
            self.refitted[step.target] = new


def _joined(parts: list[Tensor]) -> Tensor:
    """All parts in one tensor; the list, which would keep them, is emptied."""
    whole = torch.cat(parts)
    parts.clear()
    return whole
