"""Correction = the weights before a layer's neurons, refitted by ridge regression."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.calibrate.ridge import Part, regress

# Every so-manieth image is held out from the fit that picks the penalty.
_HELD_OUT = 4
# Rows of the regression: more neurons are thinned out evenly.
_ROWS = 2**16
# Equations have so many unknowns at most, and fewer rows than that are kept as they are.
_UNKNOWNS = 2**13
# So many values that neurons read are laid out at once, or those of one image.
_VALUES_AT_ONCE = 2**23

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
        layer: convolution (1 or 2 dimensions, any groups) or linear layer, in any dtype.
        x: ``[B, *]``, its mean input over time; of fewer than four images none are held out, and
            nothing is fitted.
        missing: ``[B, C, *]`` (of a linear layer ``[B, *, C]``), what its output lacks.

    Returns:
        A copy with other weights and a bias, or the layer itself.

    Source: this project; a closed form of the layer-wise weight calibration of Li et al., "A Free
    Lunch From ANN", ICML 2021, section 4.3, which descends on a like objective.
    """
    held_out = torch.arange(len(x), device=x.device) % _HELD_OUT == _HELD_OUT - 1
    if not bool(held_out.any()):
        return layer
    places = _places(layer, missing)
    inputs = layer.weight[0].numel() + 1
    # Of more inputs than that the rows are the unknowns.
    most = _ROWS if inputs <= _UNKNOWNS else max(1, _UNKNOWNS**2 // inputs)
    thin = _thinning(places, len(x), most)
    few = len(x) * -(-places // thin) < inputs
    fitted, unseen = (_parts(layer, x[i], missing[i], thin) for i in (~held_out, held_out))
    change = regress(fitted, unseen, few)
    return layer if change is None else _changed(layer, change)


def _parts(layer: Refittable, x: Tensor, missing: Tensor, thin: int) -> Iterator[Part]:
    """What neurons read and lack, of every `thin`-th, some images at a time."""
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    read = _places(layer, missing) * layer.weight[0].numel() * groups
    at_once = max(1, _VALUES_AT_ONCE // max(1, read))
    for part, wanted in zip(x.split(at_once), missing.split(at_once), strict=True):
        rows = _rows(layer, part.float())[:, :, ::thin]
        yield (
            _by_group(rows, groups),
            _by_group(_flat(layer, wanted.float())[:, :, ::thin], groups),
        )


def _places(layer: Refittable, missing: Tensor) -> int:
    """Neurons of a channel, of one image."""
    return missing[0].numel() // len(layer.weight)


def _thinning(places: int, images: int, most: int) -> int:
    """Every so-manieth place is kept; no factor of the width, so that all columns are met."""
    thin = -(-places * images // most)
    while math.gcd(thin, places) > 1:
        thin += 1
    return thin


def _by_group(values: Tensor, groups: int) -> Tensor:
    """``[B, G x K, L]`` as ``[G, K, B x L]``."""
    images, size, places = values.shape
    values = values.view(images, groups, size // groups, places)
    return values.permute(1, 2, 0, 3).flatten(2)


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
    weight = change[:, :-1].transpose(1, 2).reshape(layer.weight.shape)
    bias = change[:, -1].flatten()
    # Added before it is rounded, or half precision would lose what is small beside the weight.
    bias = bias if layer.bias is None else layer.bias.double() + bias
    other.weight = nn.Parameter((layer.weight.double() + weight).to(layer.weight), False)
    other.bias = nn.Parameter(bias.to(layer.weight), False)
    return other
