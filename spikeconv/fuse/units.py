"""What 1 is worth in an integer layer, and the layer in such units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from spikeconv.fuse.digits import Digits
from spikeconv.fuse.float_layer import FloatLayer
from spikeconv.fuse.layer import WEIGHTS, Convolution, IntegerLayer, Shortcut
from spikeconv.fuse.reach import largest_step, per_channel, start_and_theta


def finest_scale(layer: FloatLayer, q_max: int, bits: int) -> Tensor:
    """s_k: what a weight of 1 is worth, float64 ``[K]``.

    Not so small that theta, bias or potential would take more than so many bits: where weights are
    tiny beside them, finer weights change nothing.
    """
    others = (layer.theta, layer.v_init.abs(), layer.bias.abs().amax(0))
    finest: Tensor = torch.stack([per_channel(value) for value in others]).amax(0) / 2**bits
    for shortcut in layer.shortcuts:
        channels = slice(shortcut.channel, shortcut.channel + len(shortcut.amplitude))
        coarse = shortcut.amplitude.abs() / 2**bits
        finest[channels] = torch.maximum(finest[channels], coarse)
    for convolution in layer.convolutions:
        weights = convolution.weight.abs().flatten(1).amax(1) / q_max
        finest = torch.maximum(finest, weights)
    return finest


def whole_weights(layer: FloatLayer, scale: Tensor) -> tuple[Convolution, ...]:
    """Its convolutions in weights that are multiples of each channel's scale, int64."""
    return tuple(
        Convolution(c.source, _whole(c.weight, scale), c.stride, c.padding, c.dilation, c.groups)
        for c in layer.convolutions
    )


def in_units(
    layer: FloatLayer,
    convolutions: tuple[Convolution, ...],
    scale: Tensor,
    shift: int,
    steps: int,
) -> IntegerLayer:
    """The layer in units of scale / 2^shift, still in int64, which holds whatever it is."""
    unit = scale / 2**shift
    shortcuts = tuple(
        Shortcut(
            s.source,
            _whole(s.amplitude, unit[s.channel : s.channel + len(s.amplitude)]),
            s.stride,
            s.channel,
        )
        for s in layer.shortcuts
    )
    return IntegerLayer(
        name=layer.name,
        shape=layer.shape,
        convolutions=convolutions,
        shortcuts=shortcuts,
        shift=shift,
        theta=_whole(layer.theta, unit).clamp(min=1),
        v_init=_whole(layer.v_init, unit),
        bias=_whole(layer.bias, unit, channel_dim=1),
        signed=layer.signed,
        unit=unit,
        steps=steps,
    )


def with_digits(
    layer: IntegerLayer, sums: Tensor | int, largest: Mapping[str, int], bits: int
) -> IntegerLayer:
    """The layer, still in int64, with shortcuts from the digits of a static current.

    Args:
        layer: without them.
        sums: `spikeconv.fuse.reach.weight_sums`.
        largest: of every source, the largest sum of spikes of one step.
        bits: of theta, to which the current is known.
    """
    most = start_and_theta(layer) + largest_step(layer, sums, largest)
    digits = Digits.for_layer(layer.name, most, layer.theta, bits)
    own = (Shortcut(name, coefficient) for name, coefficient in digits.coefficients())
    return replace(layer, shortcuts=(*layer.shortcuts, *own), digits=digits)


def stored(layer: IntegerLayer) -> IntegerLayer:
    """The layer in the dtypes that engines take, weights in as few bits as hold them."""

    def narrow(value: Tensor) -> Tensor:
        return value.to(torch.int32).contiguous()

    return replace(
        layer,
        convolutions=tuple(
            replace(c, weight=c.weight.to(_narrowest(c.weight)).contiguous())
            for c in layer.convolutions
        ),
        shortcuts=tuple(replace(s, coefficient=narrow(s.coefficient)) for s in layer.shortcuts),
        theta=narrow(layer.theta),
        v_init=narrow(layer.v_init),
        bias=narrow(layer.bias),
        digits=layer.digits and layer.digits.to(torch.int32),
    )


def _narrowest(weight: Tensor) -> torch.dtype:
    largest = int(weight.abs().max()) if weight.numel() > 0 else 0
    return next(kind.dtype for kind in WEIGHTS.values() if largest <= kind.largest)


def _whole(value: Tensor, unit: Tensor, channel_dim: int = 0) -> Tensor:
    """Multiples of every channel's unit, rounded to the nearest, int64."""
    missing = value.dim() - channel_dim - 1
    multiples: Tensor = value / unit.view(-1, *[1] * missing)
    return multiples.round().to(torch.int64)
