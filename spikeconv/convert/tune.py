"""Corrections in place: one run of the spiking network in which every layer is fitted in turn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikeconv.calibrate.correct import CORRECTIONS, WEIGHTS
from spikeconv.calibrate.inputs import Batch
from spikeconv.calibrate.sample import LayerSample
from spikeconv.calibrate.weights import Refittable, missing_current, refit
from spikeconv.convert.analog import run_analog
from spikeconv.convert.chunk import Chunk, Values
from spikeconv.convert.feeding import feeding_layers, head
from spikeconv.convert.folding import unfold
from spikeconv.convert.layers import Rectifier
from spikeconv.convert.populate import Populations, rectifier
from spikeconv.convert.program import Program, Step, fill
from spikeconv.convert.simulation import Simulation
from spikeconv.convert.timing import Timing

# Corrections are fitted on so many images, fewer if all steps of their widest layer, or one of all
# layers, hold more values, and then on as many as fit.
IMAGES = 512
_VALUES = 2**27


def tuning_images(program: Program, T: int) -> int:
    """How many images corrections are fitted on, 1 or more."""
    neurons = sum(math.prod(step.shape) for step in program.neurons())
    return max(1, min(IMAGES, _VALUES // max(1, program.widest * T, neurons)))


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
) -> Populations:
    """The populations, corrected in the order in which they run.

    Args:
        program: of the network.
        layers: its layers by name, as `aims` has them.
        populations: as thresholds and initial potentials left them; not changed.
        weights: what functions read, by name.
        x: calibration images ``[B, *]``; of many the first few are used.
        T: time-steps that are read out.
        corrections: names from `CORRECTION_NAMES`, in their order.
    """
    if not corrections:
        return populations
    x = x[: tuning_images(program, T)]
    run = _Tuning(program, layers, populations, weights, x, corrections)
    run.run(T)
    return Populations(run.populations, populations.dead, run.refitted)


class _Tuning(Simulation):
    """A run of all steps at once that fits a layer's neurons when their currents have arrived.

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
        corrections: Sequence[str],
    ) -> None:
        self.populations = dict(populations.neurons)
        self.corrections = corrections
        self.refitted: dict[str, nn.Module] = {}
        self.feeding = feeding_layers(program, layers) if WEIGHTS in corrections else {}
        self.head = head(program, layers) if WEIGHTS in corrections else None
        # What the layers that may be refitted were given, until they are.
        self.given: dict[str, Tensor] = {}
        self.watched = {step.name for step in (*self.feeding.values(), self.head) if step}
        # The ANN's pre-activations, until its layers have been fitted.
        self.wanted: dict[str, Tensor] = {}

        def keep(name: str, current: Tensor, activation: Tensor) -> None:
            self.wanted[name] = current

        self.output = run_analog(program, layers, weights, x, keep)
        super().__init__(program, dict(layers), self.populations, weights, x, Timing())

    def run(self, T: int) -> None:
        """Run T steps and fit everything on the way."""
        output = self.mean_output(T, T)
        if self.head is not None:
            self._refit(self.head, self.given.pop(self.head.name), self.output - output)

    def _call(self, step: Step, read: Any) -> Any:
        if step.name in self.watched:
            self.given[step.name] = fill(step.args[0], read)
        return super()._call(step, read)

    def _fire(self, step: Step, chunk: Chunk) -> Tensor:
        values, n = chunk.values, chunk.steps
        source = step.args[0].name
        static = source not in values
        for name in self.corrections:
            if name == WEIGHTS:
                if step.name in self.feeding:
                    self._refit_before(step, values, n)
                continue
            current = (
                self.fixed[source].expand(n, *self.fixed[source].shape)
                if static
                else unfold(values[source], n, self.batch)
            )
            activation = rectifier(self.layers, step.name)(self.wanted[step.name])
            if activation.dim() == 1:  # one neuron an image
                current, activation = current.unsqueeze(-1), activation.unsqueeze(-1)
            sample = LayerSample(current.float(), activation.float())
            self.populations[step.name] = CORRECTIONS[name](self.populations[step.name], sample)
        del self.wanted[step.name]
        return super()._fire(step, chunk)

    def _refit_before(self, step: Step, values: Values, n: int) -> None:
        """Refit the layer that feeds a population, and correct the currents that it has given."""
        feeding = self.feeding[step.name]
        given = self.given.pop(feeding.name)
        source = step.args[0].name
        missing = missing_current(
            unfold(values[source], n, self.batch).mean(0, dtype=torch.float32),
            self.wanted[step.name].float(),
            rectifier(self.layers, step.name).cap,
        )
        old = self.layers[feeding.target]
        new = self._refit(
            feeding, unfold(given, n, self.batch).mean(0, dtype=torch.float32), missing
        )
        if new is not old and feeding.name == source:
            values[source] = new(given)
        elif new is not old:
            values[source] = values[source] + (new(given) - old(given))

    def _refit(self, step: Step, x: Tensor, missing: Tensor) -> nn.Module:
        layer = cast(Refittable, self.layers[step.target])
        new = refit(layer, x, missing)
        if new is not layer:
            cast(dict[str, nn.Module], self.layers)[step.target] = new
            self.refitted[step.target] = new
        return new
