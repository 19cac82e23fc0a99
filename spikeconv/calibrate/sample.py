"""What a correction sees of a layer: its currents as they arrive, and the ANN's activation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeconv.neuron import IFNode
from spikeconv.ops import if_multistep

# Of a layer, so many neurons are looked at, all channels alike, and of each channel at least so
# many if there are: an error is then known to about a percent, and a look takes a millisecond.
_NEURONS = 2**19
_OF_A_CHANNEL = 2**13
# All their steps together hold no more values than these.
_VALUES = 2**24


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
    return values.reshape(len(values), -1).mean(1).view(-1, *[1] * (like.dim() - 2))


@dataclass(frozen=True)
class Passed:
    """Where the neurons of a `ChannelSample` stand after so many steps.

    Args:
        steps: 1 or more, less than T.
        count: net spikes so far, int32 ``[C, N]``.
        v: potential, float32 ``[C, N]``.
    """

    steps: int
    count: Tensor
    v: Tensor


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
        """Draw neurons from all images and places, the same for all channels and in every call."""
        T, (B, C, *_) = sample.T, sample.activation.shape
        count = B * sample.activation[0, 0].numel()
        kept = min(count, max(_NEURONS // C, _OF_A_CHANNEL), max(1, _VALUES // (T * C)))
        chosen = drawn(count, kept).to(sample.activation.device)
        # What is the same at every step is drawn once.
        current = sample.current[:1] if sample.current.stride(0) == 0 else sample.current
        steps = torch.stack([_take(step, chosen) for step in current])
        return ChannelSample(steps.expand(T, -1, -1), _take(sample.activation, chosen), signed)

    def error(
        self, theta: Tensor, start: Tensor, bias: Tensor, since: Passed | None = None
    ) -> Tensor:
        """sum_n (theta * count / T - a)^2 per channel, float32 ``[C]``.

        Args:
            theta: thresholds ``[C]``.
            start: initial potentials in units of theta ``[C]``.
            bias: currents added at each step, in units of theta ``[T, C]``.
            since: where the neurons stand once the first steps are done with such parameters;
                these steps are not run again.
        """
        count, _ = self._run(theta, start, bias, since, len(self.current), None)
        theta = theta.unsqueeze(1)
        difference = count.to(theta.dtype).mul_(theta / len(self.current)).sub_(self.activation)
        # torch sums pairwise: a million terms cost a digit or two, float64 half as much time again.
        return difference.square_().sum(1)

    def passed(
        self, theta: Tensor, start: Tensor, bias: Tensor, since: Passed | None, steps: int
    ) -> Passed:
        """Where the neurons stand after the first so many steps; else as `error`."""
        count, v = self._run(theta, start, bias, since, steps, "last")
        assert v is not None
        return Passed(steps, count, v)

    def _run(
        self,
        theta: Tensor,
        start: Tensor,
        bias: Tensor,
        since: Passed | None,
        end: int,
        return_v: str | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Net count of all steps before `end`, and the potential."""
        theta = theta.unsqueeze(1)
        steps = slice(since.steps if since else 0, end)
        bias = bias[steps].unsqueeze(2)
        count, v = if_multistep(
            self.current[steps],
            theta,
            since.v if since else start.unsqueeze(1) * theta,
            bias * theta if bool(bias.any()) else None,
            signed=self.signed,
            emit="count",
            return_v=return_v,
            count_init=since.count if since and self.signed else None,
        )
        return (count.add_(since.count) if since else count), v


def _take(values: Tensor, chosen: Tensor) -> Tensor:
    """Of ``[B, C, *]`` the chosen neurons ``[C, N]``, counted through images and places."""
    values = values.reshape(*values.shape[:2], -1)
    places = values.shape[2]
    return values[chosen // places, :, chosen % places].T.contiguous()


def drawn(count: int, kept: int) -> Tensor:
    """`kept` of `count` indices in rising order, one at random from each of as many equal parts.

    Even steps would keep to a few columns of the images where they share a factor with the width.
    """
    if kept == count:
        return torch.arange(count)
    place = torch.rand(kept, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (place.add_(torch.arange(kept)) * (count / kept)).long().clamp_(max=count - 1)
