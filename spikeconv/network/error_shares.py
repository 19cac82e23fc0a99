"""Where a layer's error comes from: clipping, quantisation, uneven spikes, or the layers before."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import tensors_of
from spikeconv.network.naive import NaiveSimulation
from spikeconv.network.network import Images, SpikingNetwork
from spikeconv.neuron import IFNode

KINDS = ("clipping", "quantisation", "unevenness", "inherited")
"""The parts of an error; the last is what the layers before have left."""


class _Watched(nn.Module):
    """A population that notes the mean of its input and of its output over the steps."""

    def __init__(self, node: IFNode) -> None:
        super().__init__()
        self.node = node
        self.current = self.rate = torch.empty(0, device="cpu")

    def reset(self) -> None:
        """No state is kept from call to call."""

    def forward(self, x: Tensor) -> Tensor:
        """Postsynaptic potentials ``[T, B, *]`` of currents of that shape."""
        spikes, _ = self.node.run(x, emit="spikes", return_v=None)
        psp = spikes * self.node.v_threshold
        self.current, self.rate = x.float().mean(0), psp.float().mean(0)
        return psp.to(x.dtype)


@torch.no_grad()
def error_shares(snn: SpikingNetwork, images: Images) -> dict[str, dict[str, float]]:
    """Each layer's error against the ANN, split into four parts that add up to it.

    With a the ANN's activation, z its pre-activation, c the mean current that arrives instead, and
    q what an ideal neuron makes of a current::

        q(z) = theta / T * clip(floor((T z + sum_t b_t + v(0)) / theta), 0, T)

        clipping      min(a, theta) - a
        quantisation  q(z) - min(a, theta)
        inherited     q(c) - q(z)
        unevenness    theta * count / T - q(c)

    Args:
        snn: a network that is read at every step; fused, it is its simulation in floating point.
        images: ``[B, *]``, as the network takes them; a few say enough.

    Returns:
        Layer -> ``error``, ||theta * count / T - a|| / ||a||, and the share of each part in the sum
        of the parts' mean squares; all 0 where there is no error.

    Raises:
        ValueError: the network spends steps before the readout, or is not linear after its last
            neuron.

    Example:
        theta = 1 and T = 4: a current of 1.25 is cut off at 1.

        >>> import spikeconv
        >>> ann = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
        >>> _ = nn.init.ones_(ann[0].weight)
        >>> snn = spikeconv.convert(ann, torch.ones(1, 1), T=4, threshold="max", progress=False)
        >>> shares = error_shares(snn, torch.tensor([[1.25]]))["1"]
        >>> round(shares["error"], 2), shares["clipping"]
        (0.2, 1.0)
    """
    watched: dict[str, _Watched] = {}
    simulation = NaiveSimulation(snn, _Watched, multi_step=True)
    for name, module in simulation.neurons.items():
        assert isinstance(module, _Watched)
        watched[name] = module
    squares: dict[str, dict[str, float]] = {name: defaultdict(float) for name in watched}
    batch = snn._given((images,), {})
    for part in batch.split(snn.images_at_once(batch, snn.T)):
        wanted: dict[str, tuple[Tensor, Tensor]] = {}

        def note(name: str, before: Tensor, after: Tensor, wanted: Any = wanted) -> None:
            wanted[name] = before.float(), after.float()

        snn.analog(part, note)
        simulation(*tensors_of(part))
        for name, total in squares.items():
            for kind, square in _squares(watched[name], *wanted[name], snn.T).items():
                total[kind] += square
    return {step.label: _shares(squares[step.name]) for step in snn.program.neurons()}


def _squares(population: _Watched, z: Tensor, a: Tensor, T: int) -> dict[str, float]:
    """Sums of the squares of an error's parts, of the error, and of the activation."""
    clipped = torch.minimum(a, population.node.v_threshold)
    ideal, arrived = (_ideal(population.node, value, T) for value in (z, population.current))
    parts = {
        "clipping": clipped - a,
        "quantisation": ideal - clipped,
        "unevenness": population.rate - arrived,
        "inherited": arrived - ideal,
        "error": population.rate - a,
        "size": a,
    }
    return {name: float(part.double().square().sum()) for name, part in parts.items()}


def _shares(squares: Mapping[str, float]) -> dict[str, float]:
    """The relative error, and the share of each part."""
    error, size = math.sqrt(squares["error"]), math.sqrt(squares["size"])
    total = sum(squares[kind] for kind in KINDS)
    return {
        "error": error / size if size else float(error > 0),
        **{kind: squares[kind] / total if total else 0.0 for kind in KINDS},
    }


def _ideal(node: IFNode, current: Tensor, T: int) -> Tensor:
    """q(current): the mean output of neurons whose current is the same at every step."""
    theta = node.v_threshold
    total = T * current + node.v_init
    if node.bias is not None:
        total = total + T * node.bias
    if node.step_bias is not None:
        total = total + node.step_bias[:T].sum(0)
    return theta / T * torch.floor(total / theta).clamp(0, T)
