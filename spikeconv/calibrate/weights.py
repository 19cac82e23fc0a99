"""Correction = the weights before a layer's neurons, refitted by ridge regression."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Ridge penalties that are tried, in units of the inputs' mean square; none of them means no change.
_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# Every so-manieth image is held out from the fit that picks the penalty.
_HELD_OUT = 4
# Rows of the regression: more neurons are thinned out evenly.
_ROWS = 2**16

Refittable = nn.Conv1d | nn.Conv2d | nn.Linear


def missing_current(current: Tensor, wanted: Tensor, cap: float) -> Tensor:
    """z - c, and 0 where both are below 0 or above the cap: such a neuron is right already.

    Args:
        current: c, float32 ``[B, C, *]``, mean over time of what reaches the neurons.
        wanted: z, float32 ``[B, C, *]``, the ANN's pre-activation.
        cap: upper bound of the ANN's activation, infinity for ReLU.

    >>> c, z = torch.tensor([-1.0, -1.0, 2.0, 5.0]), torch.tensor([-3.0, 1.0, 1.5, 4.0])
    >>> missing_current(c, z, 3.0).tolist()
    [0.0, 2.0, -0.5, 0.0]
    """
    right = ((wanted < 0) & (current < 0)) | ((wanted > cap) & (current > cap))
    return (wanted - current).masked_fill_(right, 0)


def refit(layer: Refittable, x: Tensor, missing: Tensor) -> Refittable:
    """A layer whose weights make up, on average, for what the spikes before it get wrong.

        argmin_{dW, db}  sum_n (r_n - dW x_n - db)^2 + penalty * |dW|^2

    over outputs and images, x the mean of the layer's input over time and r what is missing there.
    The penalty is the one that is best on images held out from the fit; where none is better than
    no change, the layer stays as it is.

    Args:
        layer: convolution (1 or 2 dimensions, any groups) or linear layer.
        x: float32 ``[B, *]``, its mean input over time.
        missing: float32 ``[B, C, *]`` (of a linear layer ``[B, *, C]``), what its output lacks.

    Returns:
        A copy with other weights and a bias, or the layer itself.

    Source: this project; a closed form of the layer-wise weight calibration of Li et al., "A Free
    Lunch From ANN", ICML 2021, section 4.3, which descends on a like objective.
    """
    held_out = torch.arange(len(x), device=x.device) % _HELD_OUT == _HELD_OUT - 1
    if not bool(held_out.any()):
        return layer
    fitted = _Moments.of(layer, x[~held_out], missing[~held_out])
    unseen = _Moments.of(layer, x[held_out], missing[held_out])
    solutions = [fitted.solve(penalty) for penalty in _PENALTIES]
    errors = [unseen.error(change) for change in solutions]
    best = min(range(len(errors)), key=errors.__getitem__)
    if not errors[best] < 0:
        return layer
    return _changed(layer, (fitted + unseen).solve(_PENALTIES[best]))


class _Moments:
    """Second moments of inputs ``[G, K, K]`` and of inputs with targets ``[G, K, C/G]``.

    G groups, K inputs of a neuron and one more that is always 1, for the bias.
    """

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs = inputs
        self.targets = targets

    @staticmethod
    def of(layer: Refittable, x: Tensor, missing: Tensor) -> _Moments:
        groups = 1 if isinstance(layer, nn.Linear) else layer.groups
        inputs = torch.zeros((), dtype=torch.float64, device=x.device)
        targets = inputs.clone()
        for part, wanted in zip(x.split(8), missing.split(8), strict=True):
            rows = _rows(layer, part).unflatten(1, (groups, -1))
            rows = torch.cat([rows, torch.ones_like(rows[:, :, :1])], 2)
            wanted = _flat(layer, wanted).unflatten(1, (groups, -1))
            thin = -(-rows.shape[3] * len(x) // _ROWS)
            rows, wanted = rows[..., ::thin], wanted[..., ::thin]
            inputs = inputs + torch.einsum("bgkl,bgml->gkm", rows, rows).double()
            targets = targets + torch.einsum("bgkl,bgcl->gkc", rows, wanted).double()
        return _Moments(inputs, targets)

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(self.inputs + other.inputs, self.targets + other.targets)

    def solve(self, penalty: float) -> Tensor:
        """The change of weights and bias ``[G, K, C/G]``."""
        size = self.inputs.diagonal(dim1=1, dim2=2)
        ridge = penalty * size.mean(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        ridge = ridge.expand_as(size).clone()
        ridge[:, -1] *= 1e-3  # the bias is not held back, only kept solvable
        change: Tensor = torch.linalg.solve(self.inputs + torch.diag_embed(ridge), self.targets)
        return change

    def error(self, change: Tensor) -> float:
        """Squared error with a change, less that without: negative where it is better."""
        quadratic = (change * (self.inputs @ change)).sum()
        return float(quadratic - 2 * (change * self.targets).sum())


def _rows(layer: Refittable, x: Tensor) -> Tensor:
    """What each neuron reads, ``[B, inputs of a neuron x groups, neurons of a channel]``."""
    if isinstance(layer, nn.Linear):
        return x.reshape(len(x), -1, layer.in_features).transpose(1, 2)
    if isinstance(layer, nn.Conv1d):
        x = F.pad(x, _padding(layer), mode=_mode(layer)).unsqueeze(2)
        size, step, apart = (1, *layer.kernel_size), (1, *layer.stride), (1, *layer.dilation)
    else:
        x = F.pad(x, _padding(layer), mode=_mode(layer))
        size, step, apart = layer.kernel_size, layer.stride, layer.dilation
    return F.unfold(x, size, dilation=apart, stride=step)


def _flat(layer: Refittable, values: Tensor) -> Tensor:
    """Values of neurons ``[B, C, neurons of a channel]``."""
    if isinstance(layer, nn.Linear):
        return values.reshape(len(values), -1, layer.out_features).transpose(1, 2)
    return values.flatten(2)


def _padding(layer: nn.Conv1d | nn.Conv2d) -> list[int]:
    return list(layer._reversed_padding_repeated_twice)


def _mode(layer: nn.Conv1d | nn.Conv2d) -> str:
    return "constant" if layer.padding_mode == "zeros" else layer.padding_mode


def _changed(layer: Refittable, change: Tensor) -> Refittable:
    """A copy of the layer with ``[G, K, C/G]`` added to its weights and bias."""
    other = copy.deepcopy(layer)
    weight = change[:, :-1].transpose(1, 2).reshape(layer.weight.shape).to(layer.weight)
    bias = change[:, -1].flatten().to(layer.weight)
    other.weight = nn.Parameter(layer.weight + weight, requires_grad=False)
    before = 0 if layer.bias is None else layer.bias
    other.bias = nn.Parameter(bias + before, requires_grad=False)
    return other
