"""Correction = the threshold, start and bias of every step with the least error, by search."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeconv.calibrate.sample import ChannelSample, LayerSample, Passed
from spikeconv.neuron import IFNode

# Changes that are tried, in units of theta (of the threshold: relative); in the second round half.
_THETA = (-0.25, -0.15, -0.08, -0.04, 0.04, 0.08, 0.15, 0.25)
_START = (-0.4, -0.3, -0.2, -0.1, -0.05, 0.05, 0.1, 0.2, 0.3, 0.4)
_BIAS = (-0.5, -0.3, -0.2, -0.1, -0.05, 0.05, 0.1, 0.2, 0.3, 0.5)
_ROUNDS = 2
# The first steps get a bias each; later ones, which differ less, share one by spans that double.
_SINGLE_STEPS = 8


def search(node: IFNode, sample: LayerSample) -> IFNode:
    """Fit theta, v(0) and b_1..b_T per channel to the spike trains that really arrive.

        argmin  E[(theta / T * sum_t s_t - a)^2],   s = IF(x; theta, v(0), b)

    by coordinate descent: every parameter in turn is moved by a few distances, and each channel
    keeps what lowers its own error, so the error never grows. The neuron is simulated, so
    unevenness (spikes in an unlucky order) counts as well as clipping and quantisation, and a bias
    that holds spikes back at first, until more of the input is known, is found where it pays.

    Args:
        node: the population as it stands.
        sample: what reaches it, and what the ANN has in its place.

    Returns:
        The population with parameters per channel.

    Source: this project; the objective is that of Li et al., "A Free Lunch From ANN", ICML 2021,
    extended from thresholds and ideal neurons to all parameters and the neuron itself.
    """
    shape = (sample.shape[0], *[1] * (len(sample.shape) - 1))
    theta = _channels(node.v_threshold, shape)
    bias = torch.zeros(sample.T, len(theta), dtype=theta.dtype, device=theta.device)
    if node.bias is not None:
        bias += _channels(node.bias, shape) / theta
    if node.step_bias is not None:
        bias += torch.stack([_channels(step, shape) for step in node.step_bias]) / theta
    found = _Descent(
        ChannelSample.of(sample, node.signed), theta, _channels(node.v_init, shape) / theta, bias
    )
    for pace in (0.5**i for i in range(_ROUNDS)):
        # The start first: a threshold that shrinks hides what a shift would have mended.
        found.move_start(pace)
        for _ in range(2):
            found.move_theta(pace)
        found.move_biases(pace)
    theta = found.theta.view(shape)
    return node.replaced(
        v_threshold=theta,
        v_init=found.start.view(shape) * theta,
        bias=None,
        step_bias=found.bias.view(-1, *shape) * theta,
    )


class _Descent:
    """The best parameters so far of every channel, and moves of one of them at a time."""

    def __init__(self, neurons: ChannelSample, theta: Tensor, start: Tensor, bias: Tensor) -> None:
        self.neurons = neurons
        self.theta = theta
        self.start = start
        self.bias = bias
        self.error = neurons.error(theta, start, bias)

    def move_theta(self, pace: float) -> None:
        theta = self.theta
        for change in _THETA:
            self._try(theta * (1 + pace * change), self.start, self.bias)

    def move_start(self, pace: float) -> None:
        start = self.start
        for change in _START:
            self._try(self.theta, start + pace * change, self.bias)

    def move_biases(self, pace: float) -> None:
        before: Passed | None = None  # no bias changes what was before its step
        for steps in spans(len(self.bias)):
            bias = self.bias
            for change in _BIAS:
                moved = bias.clone()
                moved[steps] += pace * change
                self._try(self.theta, self.start, moved, before)
            if steps.stop < len(bias):
                here = self.theta, self.start, self.bias
                before = self.neurons.passed(*here, before, steps.stop)

    def _try(self, theta: Tensor, start: Tensor, bias: Tensor, since: Passed | None = None) -> None:
        """Keep these in the channels where they are better."""
        error = self.neurons.error(theta, start, bias, since)
        better = error < self.error
        self.theta = torch.where(better, theta, self.theta)
        self.start = torch.where(better, start, self.start)
        self.bias = torch.where(better, bias, self.bias)
        self.error = torch.where(better, error, self.error)


def spans(T: int) -> list[slice]:
    """Steps that share a bias: the first eight alone, then 8, 16, 32, ... together.

    >>> [len(range(*s.indices(20))) for s in spans(20)]
    [1, 1, 1, 1, 1, 1, 1, 1, 8, 4]
    """
    ends = [*range(1, min(T, _SINGLE_STEPS) + 1)]
    while ends[-1] < T:
        ends.append(min(2 * ends[-1], T))
    return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]


def _channels(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A parameter of the population as one number a channel ``[C]``: the mean of its neurons'."""
    value = value.expand(torch.broadcast_shapes(value.shape, shape))
    return value.reshape(len(value), -1).mean(1)
