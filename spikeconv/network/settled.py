"""Layers that were changed after they were made, with attributes that say what they compute.

A forward of torch's reads some attributes and ignores others: the size of a convolution's window is
that of its weights, and zeros are padded as `padding` says, but other values as it said when the
layer was made. Code that changes a layer changes what is read, and fusing, counting and saving read
the rest.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from torch import nn

from spikeconv.network.subclasses import computes_as

_CONVOLUTIONS = nn.Conv1d, nn.Conv2d, nn.Conv3d
_TRANSPOSED = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
_BATCH_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d


def settle(module: nn.Module) -> None:
    """Set every attribute of a layer of torch's to what the layer computes with."""
    layer: Any = module
    if computes_as(module, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif computes_as(module, *_CONVOLUTIONS):
        layer.out_channels, inputs = layer.weight.shape[:2]
        layer.in_channels = inputs * layer.groups
        _settle_window(layer, "stride", "dilation")
        _settle_padding(layer)
    elif computes_as(module, *_TRANSPOSED):
        layer.in_channels, outputs = layer.weight.shape[:2]
        layer.out_channels = outputs * layer.groups
        _settle_window(layer, "stride", "dilation", "output_padding")
    elif computes_as(module, *_BATCH_NORMS) and layer.running_mean is not None:
        layer.num_features = len(layer.running_mean)


def _settle_window(layer: Any, *names: str) -> None:
    """The size of the window, and numbers for each of its dimensions."""
    layer.kernel_size = tuple(layer.weight.shape[2:])
    for name in names:
        setattr(layer, name, _each(getattr(layer, name), len(layer.kernel_size)))


def _settle_padding(layer: Any) -> None:
    """Make `padding` and what torch made of it, from the last dimension on, say the same."""
    made = layer._reversed_padding_repeated_twice
    if layer.padding_mode != "zeros":
        if not isinstance(layer.padding, str) and made[::2] == made[1::2]:
            layer.padding = tuple(made[::-2])
    elif isinstance(layer.padding, str):
        sizes = zip(layer.kernel_size, layer.dilation, strict=True)
        sides = [
            dilation * (size - 1) if layer.padding == "same" else 0 for size, dilation in sizes
        ]
        pairs = [(side // 2, side - side // 2) for side in sides]
        layer._reversed_padding_repeated_twice = list(chain(*reversed(pairs)))
    else:
        layer.padding = _each(layer.padding, len(layer.kernel_size))
        pairs = [(side, side) for side in layer.padding]
        layer._reversed_padding_repeated_twice = tuple(chain(*reversed(pairs)))


def _each(value: Any, count: int) -> tuple[int, ...]:
    """A number for each of so many dimensions."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * count if len(values) == 1 else values
