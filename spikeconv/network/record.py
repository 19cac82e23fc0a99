"""Recording what the neurons of a spiking network do on a few images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch
from spikeconv.calibrate.sample import drawn
from spikeconv.network.chunk import Chunk
from spikeconv.network.error_shares import error_shares
from spikeconv.network.network import Images, SpikingNetwork
from spikeconv.network.program import Phase, Step
from spikeconv.network.recording import STEPS, LayerRecording, Recording
from spikeconv.network.simulation import Simulation
from spikeconv.neuron import IFNode

# Of a layer, so many neurons at most, and fewer where all their steps would be more values.
_NEURONS = 256
_VALUES = 2**18


@torch.no_grad()
def record(
    snn: SpikingNetwork, images: Images, evaluation: Mapping[str, Any] | None = None
) -> Recording:
    """Record every layer on a few images: spikes and potentials of some neurons, rates of all.

    All steps are recorded in the order in which a layer spends them: those that find SRP's mask,
    those that COS looks at, the delay, and those that are read; not those that COS spends without
    a look, where fewer are left.

    Args:
        snn: runs its own T steps. Of a fused network it is the simulation in floating point that
            is recorded, and a warning says so: integers keep no potential of every step.
        images: ``[B, *]``, B >= 1, as the network takes them; of several inputs a tuple, or a dict
            by the arguments' names.
        evaluation: what was measured of the same network, kept along.

    Returns:
        At most 256 neurons a layer, evenly drawn, and at most 2^18 values of each kind.

    Raises:
        TypeError, ValueError: naming the argument; no images, or more than 4096 steps.

    Example:
        >>> import spikeconv
        >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> x = torch.rand(10, 4)
        >>> recording = record(spikeconv.convert(ann, x, T=4, progress=False), x[:3])
        >>> recording.labels(), recording.layers[0].spikes.shape
        (['1'], torch.Size([4, 3, 8]))
    """
    if not isinstance(snn, SpikingNetwork):
        raise TypeError(f"record: snn must be a SpikingNetwork, got {type(snn).__name__}")
    batch = snn._given((images,), {})
    if len(batch) == 0:
        raise ValueError("record: images must hold at least one, got none")
    if snn.T > STEPS:
        raise ValueError(f"record: the network must have {STEPS} steps at most, got {snn.T}")
    if snn.integers is not None:
        warnings.warn(
            "record: what is recorded are the spikes of the network in floating point, as it was "
            "before fuse(), which differ from those of its integers by rounding",
            stacklevel=2,
        )
    parts = [
        _recorded(snn, part, len(batch)) for part in batch.split(snn.images_at_once(batch, snn.T))
    ]
    shares = error_shares(snn, batch) if _has_shares(snn) else {}
    layers = tuple(
        replace(_joined(layers), shares=shares.get(layers[0].layer, {}))
        for layers in zip(*parts, strict=True)
    )
    timing = snn.timing
    started_anew = timing.srp + timing.looked_at(snn.T)
    starts = dict.fromkeys((0, timing.srp, started_anew))
    return Recording(layers, started_anew + timing.delay, tuple(starts), evaluation or {})


def _recorded(snn: SpikingNetwork, images: Batch, of: int) -> list[LayerRecording]:
    """The layers on some `of` so many images."""
    activations: dict[str, Tensor] = {}
    snn.analog(images, lambda name, before, after: activations.update({name: after}))
    run = _Recorder(snn, images, activations, of)
    run.mean_output(snn.T, snn.T)
    return [
        run.watched[step.name].recording(step, activations[step.name])
        for step in snn.program.neurons()
    ]


def _joined(parts: Sequence[LayerRecording]) -> LayerRecording:
    """One layer on all images."""
    spikes, v = (torch.cat([getattr(part, name) for part in parts], 1) for name in ("spikes", "v"))
    activation = torch.cat([part.activation for part in parts])
    fired = torch.stack([part.fired for part in parts]).sum(0)
    return replace(parts[0], spikes=spikes, v=v, activation=activation, fired=fired)


def _has_shares(snn: SpikingNetwork) -> bool:
    """Whether every step is read, and linearly, so that an error can be taken apart."""
    return not snn.timing.before and not any(
        step.analog for step in snn.program.phase(Phase.READOUT)
    )


class _Recorder(Simulation):
    """A run whose populations keep what they do."""

    def __init__(
        self, snn: SpikingNetwork, x: Batch, activations: Mapping[str, Tensor], images: int
    ) -> None:
        self.watched = {
            name: _Watched(node, activations[name], snn.T * images)
            for name, node in snn.populations().items()
        }
        super().__init__(snn.program, snn.layers, self.watched, snn.weights(), x, snn.timing)

    def _fire(self, step: Step, chunk: Chunk) -> Tensor:
        self.watched[step.name].silent = self.silent.get(step.name)
        return super()._fire(step, chunk)


class _Watched(IFNode):
    """A population that keeps the spikes and potentials of some neurons, and counts all spikes.

    Args:
        node: the population.
        activation: the ANN's ``[B, *]``, for the shape.
        rows: steps times images of the whole recording.
    """

    def __init__(self, node: IFNode, activation: Tensor, rows: int) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(node.__dict__)
        B, self.neurons_shape = len(activation), tuple(activation.shape[1:])
        neurons = math.prod(self.neurons_shape)
        kept = min(neurons, _NEURONS, max(1, _VALUES // rows))
        self.chosen = drawn(neurons, kept)
        self.silent: Tensor | None = None
        self.count = torch.zeros(B, neurons, dtype=torch.int64, device="cpu")
        self.parts: list[tuple[Tensor, Tensor]] = []

    def run(
        self,
        x: Tensor,
        T: int | None = None,
        *,
        emit: str | None = None,
        return_v: str | None = "last",
        **more: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """As the population's, which runs once more beside it to be looked at."""
        spikes, v = super().run(x, T, emit="spikes", return_v="all", **more)
        assert v is not None
        if self.silent is not None and return_v != "all":  # COS looks at those that SRP silences
            spikes = spikes.masked_fill(self.silent, 0)
        spikes, v = (train.reshape(*train.shape[:2], -1) for train in (spikes, v))
        self.count += (spikes != 0).sum(0).cpu()
        self.parts.append((spikes.cpu()[..., self.chosen], v.cpu()[..., self.chosen]))
        return super().run(x, T, emit=emit, return_v=return_v, **more)

    def recording(self, step: Step, activation: Tensor) -> LayerRecording:
        """What was kept."""
        spikes, v = map(torch.cat, zip(*self.parts, strict=True))

        def of_each(parameter: Tensor) -> Tensor:
            """A parameter's value for each recorded neuron."""
            shape = torch.broadcast_shapes(parameter.shape, self.neurons_shape)
            values = parameter.detach().cpu().float().expand(shape)
            return values.flatten()[self.chosen].clone()

        return LayerRecording(
            layer=step.label,
            shape=self.neurons_shape,
            neurons=self.chosen,
            spikes=spikes.to(torch.int8),
            v=v.float(),
            v_threshold=of_each(self.v_threshold),
            v_init=of_each(self.v_init),
            activation=activation.cpu().float().reshape(len(activation), -1)[:, self.chosen],
            fired=torch.bincount(self.count.flatten(), minlength=len(spikes) + 1),
        )
