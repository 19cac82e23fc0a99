"""From currents in floating point to integers that cannot overflow: one layer's units and weights.

One unit u_k for each output channel k, of which weights, thresholds, potentials and biases are
whole multiples::

    s_k = max |w_k| / q_max                        weights: round(w / s_k), |.| <= q_max, 127 of
                                                   int8, 32,639 of int16, 8,355,711 of int24
    u_k = s_k / 2^f                                membrane, theta, bias, shortcuts: round(. / u_k)

and a larger s_k where theta, bias, v_init or a shortcut would take too many bits
(`spikeconv.fuse.units`). No membrane of the first T steps may reach 2^31, whatever the spikes are
(`spikeconv.fuse.reach`). f is the largest for which that holds; of int24 each s_k is as much larger
as it must be for f = 0.

A current that an image adds at every step has no bound. But from theta + a_k + |v_init| on, with
a_k the largest that all else can add in a step, a neuron fires at every step, and from its negative
on at none: there it is cut off, and a_k grows by that.

Where fewer bits hold weights as exactly, which were rounded before, and units are as fine, more
would be the same in more passes, and they take fewer. Where in a quarter of the channels s_k is
more than theta / 16 and more than a quarter of a convolution's median weight, as beside a weight
far larger than the others and seldom read, these would be lost: such a layer takes a byte more, or
if int24 loses them too, has no integers.

Where SRP or COS has membranes start elsewhere (`spikeconv.fuse.starts`) it is below 2^30. From
-2^30 then no membrane reaches theta or leaves int32, and what COS adds to v_init is at most
max(theta, |v_init| + rho * a_k), which keeps the sum within twice the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from spikeconv.fuse.channels import Unsupported
from spikeconv.fuse.float_layer import FloatLayer
from spikeconv.fuse.layer import WEIGHTS, IntegerLayer
from spikeconv.fuse.reach import largest_step, potentials, start_and_theta, weight_sums
from spikeconv.fuse.units import finest_scale, in_units, stored, whole_weights, with_digits

_LARGEST_SHIFT = 16
_LEAST_WEIGHT = 15
# Times a unit: less than that is nothing beside what more bits round of all weights of a neuron.
# Nor is it anything where a threshold has so many units.
_AS_FINE = 4
_FINE_THETA = 2**22
_BITS_OF_THETA = (24, 20, 16)
# Of int24, which int32 limits before that.
_MOST_BITS_OF_THETA = 30
# To which a current that an image adds is known, and in int24.
_BITS_OF_CURRENT = 16
_BITS_OF_FINE_CURRENT = 24
# A unit is taken as much larger again as roundings may add to a sum.
_ROUNDINGS = 1 + 2**-10
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
        precision: of its weights, one of `WEIGHTS`; fewer bits where these are as fine, and more
            where it loses most of them.
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
    rank = list(WEIGHTS).index(precision)
    try:
        found = _quantised(layer, precision, largest, steps, rooms)
    except _Lost:
        wider = list(WEIGHTS)[rank + 1 :]
        if not wider:
            raise
        return quantise(layer, wider[0], largest, steps, rooms)
    for fewer in list(WEIGHTS)[:rank]:
        if _hold_as_exactly(layer, fewer, precision):
            try:
                narrow = _quantised(layer, fewer, largest, steps, rooms)
            except Unsupported:
                continue
            # One channel of large values limits the layer's f, and at the same f it is coarser.
            as_fine = narrow.unit <= _AS_FINE * found.unit
            if bool((as_fine | (narrow.theta >= _FINE_THETA)).all()):
                return narrow
    return found


class _Lost(Unsupported):
    """Most of what weights are would be lost."""

    def __init__(self, precision: str) -> None:
        super().__init__(f"beside its largest weights {precision} would lose the others")


def _quantised(
    layer: FloatLayer, precision: str, largest: Mapping[str, int], steps: int, rooms: int
) -> IntegerLayer:
    limit = _INT32_MAX // rooms
    found = _finest(layer, largest, steps, limit) if precision == "int24" else None
    if found is None:
        # Where int32 has no room for 24 bits in some channel, 16 are as fine.
        bits = "int16" if precision == "int24" else precision
        found = _of_one_resolution(layer, bits, largest, steps, limit)
    if found is None:
        raise Unsupported(f"its sums over {steps} steps leave int32")
    return stored(found)


def _of_one_resolution(
    layer: FloatLayer, precision: str, largest: Mapping[str, int], steps: int, limit: int
) -> IntegerLayer | None:
    """In weights of q_max units, for all channels as many as are safe, with the largest f."""
    for q_max, bits in _resolutions(precision):
        if _is_coarse(layer, _unit_of_weights(layer, q_max)):
            if q_max == WEIGHTS[precision].largest:
                raise _Lost(precision)
            return None
        scale = finest_scale(layer, q_max, bits)
        convolutions = whole_weights(layer, scale)
        sums = weight_sums(convolutions, largest)
        for shift in range(_LARGEST_SHIFT, -1, -1):
            found = in_units(layer, convolutions, scale, shift, steps)
            if layer.static:
                found = with_digits(found, sums, largest, _BITS_OF_CURRENT)
            if potentials(found, sums, largest, steps).max() <= limit:
                return found
    return None


def _finest(
    layer: FloatLayer, largest: Mapping[str, int], steps: int, limit: int
) -> IntegerLayer | None:
    """In weights of 24 bits, or of each channel as many as are safe, with the largest f."""
    scale = finest_scale(layer, WEIGHTS["int24"].largest, _MOST_BITS_OF_THETA)
    coarsest = finest_scale(layer, _LEAST_WEIGHT, _BITS_OF_THETA[-1])
    if _is_coarse(layer, _unit_of_weights(layer, WEIGHTS["int24"].largest)):
        raise _Lost("int24")
    found, share = _with_share(layer, scale, 0, largest, steps, limit)
    while bool((share > 1).any()):
        scale = torch.where(share > 1, scale * share * _ROUNDINGS, scale)
        if bool((scale > coarsest).any()) or _is_coarse(layer, scale):
            return None
        found, share = _with_share(layer, scale, 0, largest, steps, limit)
    for shift in range(1, _LARGEST_SHIFT + 1):
        finer, share = _with_share(layer, scale, shift, largest, steps, limit)
        if share.max() > 1:
            break
        found = finer
    return found


def _with_share(
    layer: FloatLayer,
    scale: Tensor,
    shift: int,
    largest: Mapping[str, int],
    steps: int,
    limit: int,
) -> tuple[IntegerLayer, Tensor]:
    """The layer in such units, and how much of the limit each channel takes, float64 ``[K]``."""
    convolutions = whole_weights(layer, scale)
    sums = weight_sums(convolutions, largest)
    found = in_units(layer, convolutions, scale, shift, steps)
    if not layer.static:
        return found, potentials(found, sums, largest, steps) / limit
    # Digits hold as many units in all channels as in the one that adds most: it has to be coarser.
    most = (start_and_theta(found) + largest_step(found, sums, largest)).double()
    found = with_digits(found, sums, largest, _BITS_OF_FINE_CURRENT)
    share = potentials(found, sums, largest, steps).max() / limit
    return found, share * most / most.max()


def _unit_of_weights(layer: FloatLayer, q_max: int) -> Tensor:
    """What is 1 where the largest weight of a channel is q_max, float64 ``[K]``."""
    weights = [c.weight.abs().flatten(1).amax(1) for c in layer.convolutions]
    return torch.stack(weights or [torch.zeros_like(_least_theta(layer))]).amax(0) / q_max


def _least_theta(layer: FloatLayer) -> Tensor:
    return layer.theta if layer.theta.dim() == 1 else layer.theta.flatten(1).amin(1)


def _is_coarse(layer: FloatLayer, unit: Tensor) -> bool:
    """Whether most weights would be lost in such units, and are worth something."""
    few = torch.zeros_like(unit, dtype=torch.bool)
    for convolution in layer.convolutions:
        weight = convolution.weight.abs().flatten(1)
        usual = torch.where(weight > 0, weight, torch.nan).nanmedian(1).values
        few |= usual < _FEWEST_UNITS * unit
    coarse = few & (unit > _COARSEST * _least_theta(layer))
    return float(coarse.double().mean()) > _COARSE_CHANNELS


def _hold_as_exactly(layer: FloatLayer, fewer: str, precision: str) -> bool:
    """Whether fewer bits hold all weights as exactly as those of a precision would."""
    q_max = WEIGHTS[fewer].largest
    scale = finest_scale(layer, q_max, _BITS_OF_THETA[0])
    most = q_max / WEIGHTS[precision].largest / 2

    def hold(weight: Tensor) -> bool:
        multiples = weight / scale.view(-1, 1, 1, 1)
        return bool(((multiples - multiples.round()).abs() <= most).all())

    return all(hold(c.weight) for c in layer.convolutions)


def _resolutions(precision: str) -> Iterator[tuple[int, int]]:
    """Largest weights, and bits of what a threshold may take, from the finest on.

    Coarser ones leave room for more weights, or for more steps.
    """
    q_max = WEIGHTS[precision].largest
    for bits in _BITS_OF_THETA:
        yield q_max, bits
    while (q_max := q_max // 2) >= _LEAST_WEIGHT:
        yield q_max, _BITS_OF_THETA[-1]
