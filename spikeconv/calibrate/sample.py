"""What a correction sees of a layer: its currents as they arrive, and the ANN's activation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeconv.neuron import IFNode
from spikeconv.ops import if_multistep

# Of a layer, so many neurons at the most are looked at, all channels alike: an error per channel
# is then known to about a percent, and a look takes milliseconds however large the layer is.
_NEURONS = 2**20


@dataclass(frozen=True)
class LayerSample:
    """Currents and activations of one layer on calibration images.

    Args:
        current: float32 ``[T, B, C, *]``: what reaches the neurons, as the spiking network, whose
            earlier layers are corrected already, gives it.
        activation: float32 ``[B, C, *]``: what the ANN has there.
    """

    current: Tensor
    activation: Tensor

    @property
    def T(self) -> int:
        """Time-steps."""
        return len(self.current)

    def mean_output(self, node: IFNode) -> Tensor:
        """theta * count / T of these neurons, float32 ``[B, C, *]``."""
        count, _ = node.run(self.current, emit="count", return_v=None)
        return count * (node.v_threshold / self.T)

    def error(self, node: IFNode) -> Tensor:
        """mean over images minus mean of the ANN: E[theta * count / T - a], ``[C, *]``."""
        return (self.mean_output(node) - self.activation).mean(0)


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """The mean over everything but channels of ``[C, *]``, in the shape of a parameter per channel.

    >>> per_channel(torch.tensor([[1.0, 3.0], [4.0, 6.0]]), torch.zeros(5, 2, 2)).tolist()
    [[2.0], [5.0]]
    """
    return values.flatten(1).mean(1).view(-1, *[1] * (like.dim() - 2))


@dataclass(frozen=True)
class ChannelSample:
    """Neurons drawn from a layer, sorted by channel, and the error of any parameters on them.

    Args:
        current: float32 ``[T, C, N]``.
        activation: float32 ``[C, N]``.
        signed: whether the neurons are.
    """

    current: Tensor
    activation: Tensor
    signed: bool

    @staticmethod
    def of(sample: LayerSample, signed: bool) -> ChannelSample:
        """Draw evenly spaced neurons of every channel, the same for all channels."""
        current, activation = sample.current.movedim(2, 1), sample.activation.movedim(1, 0)
        channels = len(activation)
        # A stride that shares no factor with the layer's sides does not keep to one column.
        count = activation[0].numel()
        kept = min(count, max(1, _NEURONS // channels))
        chosen = (torch.arange(kept) * count // kept).to(activation.device)
        return ChannelSample(
            current.flatten(2)[:, :, chosen].contiguous(),
            activation.flatten(1)[:, chosen].contiguous(),
            signed,
        )

    def error(self, theta: Tensor, start: Tensor, bias: Tensor) -> Tensor:
        """sum_n (theta * count / T - a)^2 per channel, float64 ``[C]``.

        Args:
            theta: thresholds ``[C]``.
            start: initial potentials in units of theta ``[C]``.
            bias: currents added at each step, in units of theta ``[T, C]``.
        """
        theta = theta.unsqueeze(1)
        count, _ = if_multistep(
            self.current,
            theta,
            start.unsqueeze(1) * theta,
            bias.unsqueeze(2) * theta if bool(bias.any()) else None,
            signed=self.signed,
            emit="count",
            return_v=None,
        )
        difference = count * (theta / len(self.current)) - self.activation
        return difference.square_().sum(1, dtype=torch.float64)
