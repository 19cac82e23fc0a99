"""From currents in floating point to integers that cannot overflow: one layer's units and weights.

One unit u_k for each output channel k, of which weights, thresholds, potentials and biases are
whole multiples::

    s_k = max |w_k| / q_max                        weights: round(w / s_k), |.| <= q_max, 127 of
                                                   int8, 32,639 of int16
    u_k = s_k / 2^f                                membrane, theta, bias, shortcuts: round(. / u_k)

and a larger s_k where theta, bias, v_init or a shortcut would take too many bits (`_scale`). With
a_k the largest that one step can add in units of u_k, the sum of all absolute values, every
membrane of the first T steps is at most::

    |v_init| + theta + T * a_k < 2^31

because reset only ever brings a membrane nearer to zero, or by theta beyond it. f is the largest
for which that holds, so no sum can overflow, whatever the spikes are.

A current that an image adds at every step has no bound. But from theta + a_k + |v_init| on a neuron
fires at every step, and from its negative on at none: there it is cut off, and a_k grows by that.

Where 8 bits hold weights as exactly as 16 would, which were rounded before, and units are as fine,
int16 would be the same in two passes, and they are int8. Where in a quarter of the channels s_k is
more than theta / 16 and more than a quarter of a convolution's median weight, as beside a weight
far larger than the others and seldom read, these would be lost: such a layer takes int16, or if
that loses them too, has no integers.

Where SRP or COS has membranes start elsewhere (`spikeconv.fuse.starts`) it is below 2^30. From
-2^30 then no membrane reaches theta or leaves int32, and what COS adds to v_init is at most
max(theta, |v_init| + rho * a_k), which keeps the sum within twice the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from spikeconv.fuse.channels import Unsupported
from spikeconv.fuse.digits import Digits
from spikeconv.fuse.float_layer import FloatLayer
from spikeconv.fuse.layer import Convolution, IntegerLayer, Shortcut

LARGEST_WEIGHT = {"int8": 127, "int16": 127 * 256 + 127}
"""Of int16, such that its high byte is at most 127 as well."""

_DTYPES = {"int8": torch.int8, "int16": torch.int16}
_LARGEST_SHIFT = 16
_LEAST_WEIGHT = 15
# Times a unit: less than that is nothing beside what int16 rounds of all weights of a neuron.
_AS_FINE = 4
_BITS_OF_THETA = (24, 20, 16)
# What may be lost of weights: s_k beside theta (of trained networks 0.001 to 0.01, and up to 0.2 of
# single channels that hardly fire) where half of the weights have fewer units than that, and the
# share of channels for which it may be more.
_COARSEST = 1 / 16
_FEWEST_UNITS = 4
_COARSE_CHANNELS = 0.25
_INT32_MAX = 2**31 - 1


def quantise(
    layer: FloatLayer, precision: str, largest: Mapping[str, int], steps: int, rooms: int = 1
) -> IntegerLayer:
    """The layer in integers that hold for so many steps.

    Args:
        layer: what it approximates.
        precision: ``"int8"`` or ``"int16"`` weights; of the latter int8 where that is as fine, and
            of the former int16 where it loses most of them.
        largest: of every source, the largest sum of spikes of one step.
        steps: T that must be safe.
        rooms: 2 keeps half of int32 free, for membranes that start elsewhere than at v_init.

    Raises:
        Unsupported: a value is not finite, weights differ too much in size, or no unit is both fine
            enough and safe.

    Example:
        >>> from spikeconv.fuse.float_layer import FloatConvolution
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> conv = FloatConvolution("x", one.view(1, 1, 1, 1), (1, 1), (0, 0), (1, 1), 1)
        >>> layer = FloatLayer("y", (1, 1, 1), (conv,), (), 2 * one, one, 0 * one.view(1, 1), False)
        >>> found = quantise(layer, "int8", {"x": 1}, steps=64)
        >>> found.convolutions[0].weight.item(), found.theta.item() >> found.shift
        (127, 254)
    """
    values = [c.weight for c in layer.convolutions] + [s.amplitude for s in layer.shortcuts]
    if not all(bool(torch.isfinite(v).all()) for v in (*values, layer.v_init, layer.bias)):
        raise Unsupported("a weight, bias or initial potential is not finite")
    try:
        found = _quantised(layer, precision, largest, steps, rooms)
    except _Lost:
        if precision == "int16":
            raise
        return quantise(layer, "int16", largest, steps, rooms)
    if precision == "int16" and _are_bytes(layer):
        narrow = _quantised(layer, "int8", largest, steps, rooms)
        # One channel of large values limits the layer's f, and at the same f int8 is coarser.
        if bool((narrow.unit <= _AS_FINE * found.unit).all()):
            return narrow
    return found


def _quantised(
    layer: FloatLayer, precision: str, largest: Mapping[str, int], steps: int, rooms: int
) -> IntegerLayer:
    for q_max, bits in _resolutions(precision):
        if _is_coarse(layer, q_max):
            if q_max == LARGEST_WEIGHT[precision]:
                raise _Lost(f"beside its largest weights {precision} would lose the others")
            break
        scale = _scale(layer, q_max, bits)
        convolutions = tuple(
            Convolution(
                c.source, _whole(c.weight, scale), c.stride, c.padding, c.dilation, c.groups
            )
            for c in layer.convolutions
        )
        sums = _weight_sums(convolutions, largest)
        for shift in range(_LARGEST_SHIFT, -1, -1):
            found = _in_units(layer, convolutions, scale, shift, steps)
            if layer.static:
                found = _with_digits(found, sums, largest)
            if _reach(found, sums, largest, steps) <= _INT32_MAX // rooms:
                return _stored(found, precision)
    raise Unsupported(f"its sums over {steps} steps leave int32")


class _Lost(Unsupported):
    """Most of what weights are would be lost."""


def _is_coarse(layer: FloatLayer, q_max: int) -> bool:
    """Whether most weights would be lost beside the largest of them, and are worth something."""
    least = layer.theta if layer.theta.dim() == 1 else layer.theta.flatten(1).amin(1)
    weights = [convolution.weight.abs().flatten(1) for convolution in layer.convolutions]
    unit = torch.stack([one.amax(1) for one in weights] or [0 * least]).amax(0) / q_max
    few = torch.zeros_like(least, dtype=torch.bool)
    for one in weights:
        usual = torch.where(one > 0, one, torch.nan).nanmedian(1).values
        few |= usual < _FEWEST_UNITS * unit
    return float((few & (unit > _COARSEST * least)).double().mean()) > _COARSE_CHANNELS


def _are_bytes(layer: FloatLayer) -> bool:
    """Whether 8 bits hold all weights as exactly as 16 bits would."""
    scale = _scale(layer, LARGEST_WEIGHT["int8"], _BITS_OF_THETA[0])
    most = LARGEST_WEIGHT["int8"] / LARGEST_WEIGHT["int16"] / 2

    def hold(weight: Tensor) -> bool:
        multiples = weight / scale.view(-1, 1, 1, 1)
        return bool(((multiples - multiples.round()).abs() <= most).all())

    return all(hold(c.weight) for c in layer.convolutions)


def _resolutions(precision: str) -> Iterator[tuple[int, int]]:
    """Largest weights, and bits of what a threshold may take, from the finest on.

    Coarser ones leave room for more weights, or for more steps.
    """
    q_max = LARGEST_WEIGHT[precision]
    for bits in _BITS_OF_THETA:
        yield q_max, bits
    while (q_max := q_max // 2) >= _LEAST_WEIGHT:
        yield q_max, _BITS_OF_THETA[-1]


def largest_potential(layer: IntegerLayer, largest: Mapping[str, int], steps: int) -> int:
    """The largest absolute value that a membrane can reach in so many steps, exactly."""
    return _reach(layer, _weight_sums(layer.convolutions, largest), largest, steps)


def _weight_sums(convolutions: tuple[Convolution, ...], largest: Mapping[str, int]) -> Tensor | int:
    """The largest absolute value of an accumulator, int64 ``[K]``; 0 where there is none."""
    total: Tensor | int = 0
    for convolution in convolutions:
        sums = convolution.weight.to(torch.int64).abs().flatten(1).sum(1)
        total = total + sums * largest[convolution.source]
    return total


def _reach(
    layer: IntegerLayer, weight_sums: Tensor | int, largest: Mapping[str, int], steps: int
) -> int:
    """`largest_potential`, with what does not depend on the shift given."""
    return int((_start_and_theta(layer) + steps * _largest_step(layer, weight_sums, largest)).max())


def _start_and_theta(layer: IntegerLayer) -> Tensor:
    return _per_channel(layer.v_init.to(torch.int64).abs()) + layer.theta.to(torch.int64)


def _largest_step(
    layer: IntegerLayer, weight_sums: Tensor | int, largest: Mapping[str, int]
) -> Tensor:
    """a_k: the largest that one step can add, int64 ``[K]``."""
    step = _per_channel(layer.bias.to(torch.int64).abs().amax(0)) + (weight_sums << layer.shift)
    if layer.digits is not None:
        largest = {**largest, **layer.digits.largest}
    for shortcut in layer.shortcuts:
        channels = slice(shortcut.channel, shortcut.channel + len(shortcut.coefficient))
        step[channels] += shortcut.coefficient.to(torch.int64).abs() * largest[shortcut.source]
    return step


def _with_digits(
    layer: IntegerLayer, weight_sums: Tensor | int, largest: Mapping[str, int]
) -> IntegerLayer:
    """The layer, still in int64, with shortcuts from the digits of a static current."""
    most = _start_and_theta(layer) + _largest_step(layer, weight_sums, largest)
    digits = Digits.for_layer(layer.name, most, layer.theta)
    own = (Shortcut(name, coefficient) for name, coefficient in digits.coefficients())
    return replace(layer, shortcuts=(*layer.shortcuts, *own), digits=digits)


def _per_channel(value: Tensor) -> Tensor:
    """``[K]`` or ``[K, H, W]`` to the largest of each channel."""
    return value if value.dim() == 1 else value.flatten(1).amax(1)


def _scale(layer: FloatLayer, q_max: int, bits: int) -> Tensor:
    """s_k: what a weight of 1 is worth, float64 ``[K]``.

    Not so small that theta, bias or potential would take more than so many bits: where weights are
    tiny beside them, finer weights change nothing.
    """
    others = (layer.theta, layer.v_init.abs(), layer.bias.abs().amax(0))
    finest: Tensor = torch.stack([_per_channel(value) for value in others]).amax(0) / 2**bits
    for shortcut in layer.shortcuts:
        channels = slice(shortcut.channel, shortcut.channel + len(shortcut.amplitude))
        coarse = shortcut.amplitude.abs() / 2**bits
        finest[channels] = torch.maximum(finest[channels], coarse)
    for convolution in layer.convolutions:
        weights = convolution.weight.abs().flatten(1).amax(1) / q_max
        finest = torch.maximum(finest, weights)
    return finest


def _in_units(
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


def _whole(value: Tensor, unit: Tensor, channel_dim: int = 0) -> Tensor:
    """Multiples of every channel's unit, rounded to the nearest, int64."""
    missing = value.dim() - channel_dim - 1
    multiples: Tensor = value / unit.view(-1, *[1] * missing)
    return multiples.round().to(torch.int64)


def _stored(layer: IntegerLayer, precision: str) -> IntegerLayer:
    """The layer in the dtypes that engines take."""

    def narrow(value: Tensor) -> Tensor:
        return value.to(torch.int32).contiguous()

    return replace(
        layer,
        convolutions=tuple(
            replace(c, weight=c.weight.to(_DTYPES[precision]).contiguous())
            for c in layer.convolutions
        ),
        shortcuts=tuple(replace(s, coefficient=narrow(s.coefficient)) for s in layer.shortcuts),
        theta=narrow(layer.theta),
        v_init=narrow(layer.v_init),
        bias=narrow(layer.bias),
        digits=layer.digits and layer.digits.to(torch.int32),
    )
