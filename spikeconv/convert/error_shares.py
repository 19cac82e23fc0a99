"""Where a layer's error comes from: clipping, quantisation, uneven spikes, or the layers before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikeconv.convert.naive import NaiveSimulation
from spikeconv.convert.network import SpikingNetwork
from spikeconv.neuron import IFNode

KINDS = ("clipping", "quantisation", "unevenness", "inherited")
"""The parts of an error; the last is what the layers before have left."""


class _Watched(nn.Module):
    """A population that notes the mean of its input and of its output over the steps."""

    def __init__(self, node: IFNode) -> None:
        super().__init__()
        self.node = node
        self.current = self.rate = torch.empty(0)

    def reset(self) -> None:
        """No state is kept from call to call."""

    def forward(self, x: Tensor) -> Tensor:
        """Postsynaptic potentials ``[T, B, *]`` of currents of that shape."""
        spikes, _ = self.node.run(x, emit="spikes", return_v=None)
        psp = spikes * self.node.v_threshold
        self.current, self.rate = x.float().mean(0), psp.float().mean(0)
        return psp.to(x.dtype)


@torch.no_grad()
def error_shares(snn: SpikingNetwork, images: Tensor) -> dict[str, dict[str, float]]:
    """Each layer's error against the ANN, split into four parts that add up to it.

    With a the ANN's activation, z its pre-activation, c the mean current that arrives instead, and
    q what an ideal neuron makes of a current::

        q(z) = theta / T * clip(floor((T z + sum_t b_t + v(0)) / theta), 0, T)

        clipping      min(a, theta) - a
        quantisation  q(z) - min(a, theta)
        inherited     q(c) - q(z)
        unevenness    theta * count / T - q(c)

    Args:
        snn: a network that is read at every step.
        images: ``[B, *]``; a few say enough, and all run at once.

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
    wanted: dict[str, tuple[Tensor, Tensor]] = {}
    snn.analog(
        images, lambda name, before, after: wanted.update({name: (before.float(), after.float())})
    )
    watched: dict[str, _Watched] = {}

    def watch(node: IFNode) -> _Watched:
        return _Watched(node)

    simulation = NaiveSimulation(snn, watch, multi_step=True)
    simulation(images)
    for name, module in simulation.neurons.items():
        assert isinstance(module, _Watched)
        watched[name] = module
    found: dict[str, dict[str, float]] = {}
    for step in snn.program.neurons():
        population, (z, a) = watched[step.name], wanted[step.name]
        theta = population.node.v_threshold
        clipped = torch.minimum(a, theta)
        ideal, arrived = (
            _ideal(population.node, value, snn.T) for value in (z, population.current)
        )
        parts = {
            "clipping": clipped - a,
            "quantisation": ideal - clipped,
            "unevenness": population.rate - arrived,
            "inherited": arrived - ideal,
        }
        squares = {kind: float(part.double().square().sum()) for kind, part in parts.items()}
        total = sum(squares.values())
        error = float((population.rate - a).double().norm())
        size = float(a.double().norm())
        found[step.label] = {"error": error / size if size else float(error > 0)} | {
            kind: square / total if total else 0.0 for kind, square in squares.items()
        }
    return found


def _ideal(node: IFNode, current: Tensor, T: int) -> Tensor:
    """q(current): the mean output of neurons whose current is the same at every step."""
    theta = node.v_threshold
    total = T * current + node.v_init
    if node.bias is not None:
        total = total + T * node.bias
    if node.step_bias is not None:
        total = total + node.step_bias[:T].sum(0)
    return theta / T * torch.floor(total / theta).clamp(0, T)
