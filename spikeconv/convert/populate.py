"""From calibration data to populations: currents are observed once, then any method is applied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from spikeconv.calibrate import Batches, ChannelHistogram, draw_potential, initial_potential
from spikeconv.calibrate.inputs import Batch, image_shapes, joined, told_of_size
from spikeconv.calibrate.method import Method
from spikeconv.calibrate.threshold import thresholds
from spikeconv.network.analog import run_analog
from spikeconv.network.layers import Rectifier
from spikeconv.network.program import Program
from spikeconv.network.run_step import Layers
from spikeconv.neuron import IFNode


@dataclass(frozen=True)
class Populations:
    """A neuron population for every activation, by name.

    Attributes:
        neurons: the populations.
        dead: how many channels of each were never active, so that their threshold is a guess.
        refitted: layers whose weights were changed for these neurons, by name.
    """

    neurons: dict[str, IFNode]
    dead: dict[str, int]
    refitted: dict[str, nn.Module] = field(default_factory=dict)


def observe(
    program: Program,
    layers: Mapping[str, nn.Module],
    weights: Mapping[str, Tensor],
    batches: Batches,
    keep: int,
    progress: bool,
) -> tuple[dict[str, ChannelHistogram], Batch]:
    """Histograms of every neuron's currents in the ANN, cut at the rectifier's cap.

    Returns:
        The histograms by name, and the first `keep` images of the first batch's size.
    """
    histograms: dict[str, ChannelHistogram] = {}
    labels = {step.name: step.label for step in program.neurons()}
    kept: list[Batch] = []
    shapes = image_shapes(batches.first)

    def update(name: str, current: Tensor, activation: Tensor) -> None:
        cap = rectifier(layers, name).cap
        current = current.unsqueeze(1) if current.dim() == 1 else current  # one neuron an image
        if name not in histograms:
            histograms[name] = ChannelHistogram(current.shape[1], current.device)
        try:
            histograms[name].update(current if math.isinf(cap) else current.clamp(max=cap))
        except ValueError as error:
            raise ValueError(
                f"convert: activation {labels[name]!r} on calibration data: {error}"
            ) from error

    for batch in batches.shown(progress):
        missing = keep - sum(map(len, kept))
        if missing > 0 and image_shapes(batch) == shapes:
            kept.append(batch[:missing])
        what = f"convert: calibration batch {batches.index}"
        names = [f"{what}: {name}" for name in batches.names] if len(shapes) > 1 else [what]
        with told_of_size(names, batch, shapes):
            run_analog(program, layers, weights, batch, update)
    return histograms, joined(kept)


def populate(
    program: Program,
    layers: Mapping[str, nn.Module],
    histograms: Mapping[str, ChannelHistogram],
    method: Method,
    T: int,
) -> Populations:
    """Populations with the thresholds and initial potentials of a method, for T steps read."""
    neurons: dict[str, IFNode] = {}
    dead: dict[str, int] = {}
    for index, step in enumerate(program.neurons()):
        activation = rectifier(layers, step.name)
        theta, dead[step.name] = thresholds(
            histograms[step.name],
            threshold=method.threshold,
            granularity=method.granularity,
            T=T,
            start=initial_potential(method.v_init),
            percent=method.percentile,
            headroom=method.headroom,
            cap=activation.cap,
            levels=activation.levels,
            label=step.label,
        )
        rank = len(step.shape)
        theta = theta.view(-1, *[1] * (rank - 1)) if len(theta) > 1 else theta.view(())
        potential = draw_potential(method.v_init, step.shape, method.seed, index).to(theta)
        neurons[step.name] = IFNode(theta, potential * theta, signed=method.signed)
    return Populations(neurons, dead)


def rectifier(layers: Layers, name: str) -> Rectifier:
    """The activation that a population stands for."""
    layer = layers[name]
    assert isinstance(layer, Rectifier)
    return layer
