"""How far the membranes of an integer layer can get, whatever the spikes are.

With a_k the largest that one step can add, the sum of all absolute values, every membrane of the
first T steps is at most::

    |v_init| + theta + T * a_k

because reset only ever brings a membrane nearer to zero, or by theta beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from spikeconv.fuse.layer import Convolution, IntegerLayer


def largest_potential(layer: IntegerLayer, largest: Mapping[str, int], steps: int) -> int:
    """The largest absolute value that a membrane can reach in so many steps, exactly.

    Args:
        layer: of any integer dtypes.
        largest: of every source, the largest sum of spikes of one step.
        steps: T.
    """
    sums = weight_sums(layer.convolutions, largest)
    return int(potentials(layer, sums, largest, steps).max())


def weight_sums(convolutions: Iterable[Convolution], largest: Mapping[str, int]) -> Tensor | int:
    """The largest absolute value of an accumulator, int64 ``[K]``; 0 where there is none."""
    total: Tensor | int = 0
    for convolution in convolutions:
        sums = convolution.weight.to(torch.int64).abs().flatten(1).sum(1)
        total = total + sums * largest[convolution.source]
    return total


def potentials(
    layer: IntegerLayer, sums: Tensor | int, largest: Mapping[str, int], steps: int
) -> Tensor:
    """`largest_potential` of each channel, with `weight_sums` given.

    float64 ``[K]``, exact below 2^53: of many steps int64 may not hold it.
    """
    step = largest_step(layer, sums, largest).double()
    return start_and_theta(layer).double() + steps * step


def start_and_theta(layer: IntegerLayer) -> Tensor:
    """|v_init| + theta, int64 ``[K]``."""
    return per_channel(layer.v_init.to(torch.int64).abs()) + layer.theta.to(torch.int64)


def largest_step(layer: IntegerLayer, sums: Tensor | int, largest: Mapping[str, int]) -> Tensor:
    """a_k, int64 ``[K]``, with `weight_sums` given."""
    step = per_channel(layer.bias.to(torch.int64).abs().amax(0)) + (sums << layer.shift)
    if layer.digits is not None:
        largest = {**largest, **layer.digits.largest}
    for shortcut in layer.shortcuts:
        channels = slice(shortcut.channel, shortcut.channel + len(shortcut.coefficient))
        step[channels] += shortcut.coefficient.to(torch.int64).abs() * largest[shortcut.source]
    return step


def per_channel(value: Tensor) -> Tensor:
    """``[K]`` or ``[K, H, W]`` to the largest of each channel."""
    return value if value.dim() == 1 else value.flatten(1).amax(1)
