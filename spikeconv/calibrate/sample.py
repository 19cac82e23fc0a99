"""What a correction sees of a layer: its currents as they arrive, and the ANN's activation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

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

Part: TypeAlias = tuple[Tensor, Tensor]


class LayerSample:
    """Currents and activations of one layer on calibration images, some images at a time.

    Args:
        T: time-steps.
        images: how many there are, B of all parts.
        shape: ``[C, *]`` of one image's neurons.
        parts: gives, as often as it is called, all parts in the same order: the current that
            reaches the neurons, float32 ``[T, b, C, *]``, as the spiking network, whose earlier
            layers are corrected already, gives it; and the ANN's activation ``[b, C, *]``.
    """

    def __init__(
        self,
        T: int,
        images: int,
        shape: Sequence[int],
        parts: Callable[[], Iterator[Part]],
    ) -> None:
        self.T = T
        self.images = images
        self.shape = tuple(shape)
        self.parts = parts

    @staticmethod
    def of(current: Tensor, activation: Tensor) -> LayerSample:
        """All images in one part."""
        images, *shape = activation.shape
        return LayerSample(len(current), images, shape, lambda: iter([(current, activation)]))

    def error(self, node: IFNode) -> Tensor:
        """mean over images minus mean of the ANN: E[theta * count / T - a], ``[C, *]``."""
        total: Tensor | None = None
        for current, activation in self.parts():
            count, _ = node.run(current, emit="count", return_v=None)
            error = (count * (node.v_threshold / self.T) - activation).sum(0)
            total = error if total is None else total + error
        assert total is not None
        return total / self.images


def per_channel(values: Tensor) -> Tensor:
    """The mean over everything but channels of ``[C, *]``, in the shape of a parameter per channel.

    >>> per_channel(torch.tensor([[1.0, 3.0], [4.0, 6.0]])).tolist()
    [[2.0], [5.0]]
    """
    return values.reshape(len(values), -1).mean(1).view(-1, *[1] * (values.dim() - 1))


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
        T, (C, *plane) = sample.T, sample.shape
        places = math.prod(plane)
        count = sample.images * places
        kept = min(count, max(_NEURONS // C, _OF_A_CHANNEL), max(1, _VALUES // (T * C)))
        chosen = drawn(count, kept)
        currents, activations = [], []
        start = 0
        for current, activation in sample.parts():
            end = start + len(activation) * places
            here = chosen[(start <= chosen) & (chosen < end)].sub_(start).to(activation.device)
            start = end
            # What is the same at every step is drawn once.
            current = current[:1] if current.stride(0) == 0 else current
            currents.append(torch.stack([_take(step, here) for step in current]))
            activations.append(_take(activation, here))
        return ChannelSample(
            torch.cat(currents, 2).expand(T, -1, -1), torch.cat(activations, 1), signed
        )

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
        return torch.arange(count, device="cpu")
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(kept, dtype=torch.float64, generator=generator, device="cpu")
    place += torch.arange(kept, device="cpu")
    return (place * (count / kept)).long().clamp_(max=count - 1)
