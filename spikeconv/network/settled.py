"""Layers that were changed after they were made, with attributes that say what they compute.

A forward of torch's reads some attributes and ignores others: the size of a convolution's window is
that of its weights, and zeros are padded as `padding` says, but other values as it said when the
layer was made. Code that changes a layer changes what is read, and fusing, counting and saving read
the rest.
"""

from __future__ import annotations

from itertools import chain
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from spikeconv.network.subclasses import is_changed_itself, only_renames
from spikeconv.network.vocabulary import BATCH_NORMS, CONVOLUTIONS, TRANSPOSED


def settle(module: nn.Module) -> None:
    """Set every attribute of a layer of torch's to what the layer computes with.

    A subclass with code of its own may read any of them, so it is left as it is.
    """
    layer: Any = module
    if is_changed_itself(module):
        return
    if _is_one_of(module, nn.Linear):
        if _has_rank(layer.weight, 2):
            layer.out_features, layer.in_features = layer.weight.shape
    elif _is_one_of(module, *CONVOLUTIONS):
        if _has_rank(layer.weight, 2 + len(layer.kernel_size)):
            layer.out_channels, inputs = layer.weight.shape[:2]
            layer.in_channels = inputs * layer.groups
            _settle_window(layer, "stride", "dilation")
    elif _is_one_of(module, *TRANSPOSED):
        if _has_rank(layer.weight, 2 + len(layer.kernel_size)):
            layer.in_channels, outputs = layer.weight.shape[:2]
            layer.out_channels = outputs * layer.groups
            _settle_window(layer, "stride", "dilation", "output_padding")
    elif _is_one_of(module, *BATCH_NORMS) and _has_rank(layer.running_mean, 1):
        layer.num_features = len(layer.running_mean)


def _is_one_of(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    kind = type(module)
    return kind in kinds or (isinstance(module, kinds) and only_renames(kind))


def _has_rank(weight: Any, rank: int) -> bool:
    return isinstance(weight, Tensor) and weight.dim() == rank


def _settle_window(layer: Any, *names: str) -> None:
    """The size of the window, numbers for each of its dimensions, and the padding."""
    layer.kernel_size = tuple(layer.weight.shape[2:])
    for name in names:
        setattr(layer, name, _each(getattr(layer, name), len(layer.kernel_size)))
    _settle_padding(layer)


def _settle_padding(layer: Any) -> None:
    """Make `padding` and what torch made of it, from the last dimension on, say the same."""
    made = layer._reversed_padding_repeated_twice
    if layer.padding_mode != "zeros":
        if not isinstance(layer.padding, str) and made[::2] == made[1::2]:
            layer.padding = tuple(made[::-2])
    elif isinstance(layer.padding, str):
        windows = zip(layer.kernel_size, layer.dilation, strict=True)
        same = [dilation * (size - 1) * (layer.padding == "same") for size, dilation in windows]
        pairs = [(both // 2, both - both // 2) for both in same]
        layer._reversed_padding_repeated_twice = list(chain(*reversed(pairs)))
    else:
        layer.padding = _each(layer.padding, len(layer.kernel_size))
        pairs = [(side, side) for side in layer.padding]
        layer._reversed_padding_repeated_twice = tuple(chain(*reversed(pairs)))


def _each(value: Any, count: int) -> tuple[int, ...]:
    """A number for each of so many dimensions."""
    given = (value,) if isinstance(value, Integral) else value
    values = tuple(int(each) for each in given)
    return values * count if len(values) == 1 else values
