"""Units and weights of integer layers: what they are worth, and that no sum can leave int32."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeconv.fuse.channels import Unsupported
from spikeconv.fuse.float_layer import FloatLayer, FloatShortcut
from spikeconv.fuse.layer import WEIGHTS, IntegerLayer, bytes_of
from spikeconv.fuse.quantise import quantise
from spikeconv.fuse.reach import largest_potential
from spikeconv.fuse.reference import run_layer
from tests.fuse.float_layers import INT32_MAX, LARGEST, convolution_of, layer, of_bytes, of_weights


@given(
    seed=st.integers(0, 1000),
    inputs=st.sampled_from([1, 7, 300, 5000]),
    steps=st.sampled_from([1, 16, 64, 1024, 2**15]),
    precision=st.sampled_from(list(WEIGHTS)),
    theta=st.sampled_from([1e-6, 1.0, 1e6]),
)
@settings(max_examples=60, deadline=None)
def test_every_value_is_off_by_at_most_half_a_unit(
    seed: int, inputs: int, steps: int, precision: str, theta: float
) -> None:
    given_layer = layer(inputs=inputs, seed=seed, theta=theta)
    found = quantise(given_layer, precision, LARGEST, steps)
    assert largest_potential(found, LARGEST, steps) <= INT32_MAX
    unit, scale = found.unit, found.unit * 2**found.shift
    weight = found.convolutions[0].weight.double() * scale.view(-1, 1, 1, 1)
    difference = (weight - given_layer.convolutions[0].weight).abs().flatten(1).amax(1)
    assert (difference <= scale * 0.5000001).all()
    for ours, wanted in (
        (found.v_init, given_layer.v_init),
        (found.bias[0], given_layer.bias[0]),
        (found.shortcuts[0].coefficient, given_layer.shortcuts[0].amplitude),
    ):
        entering = unit[: len(wanted)]
        assert ((ours.double() * entering - wanted).abs() <= entering * 0.5000001).all()
    large = given_layer.theta >= unit / 2
    off = (found.theta.double() * unit - given_layer.theta).abs()
    assert (off[large] <= unit[large] * 0.5000001).all()
    assert (found.theta >= 1).all()


def at_the_bound(*, signed: bool, steps: int, precision: str) -> IntegerLayer:
    """A layer whose potential comes as near to the end of int32 as its units allow."""
    ones = torch.ones(1, dtype=torch.float64)
    weight = torch.full((1, 500, 1, 1), 1.0, dtype=torch.float64)
    weight[0, 0] = -1.0
    return quantise(
        FloatLayer(
            name="y",
            shape=(1, 1, 1),
            convolutions=[convolution_of(weight)],
            shortcuts=[FloatShortcut("s", 0.9 * ones, (1, 1), 0)],
            theta=ones,
            v_init=ones / 2,
            bias=ones.view(1, 1),
            signed=signed,
        ),
        precision,
        LARGEST,
        steps,
    )


@pytest.mark.parametrize("precision", WEIGHTS)
@pytest.mark.parametrize("steps", [64, 1000])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_membrane_that_only_grows_stays_in_int32(steps: int, sign: int, precision: str) -> None:
    found = at_the_bound(signed=False, steps=steps, precision=precision)
    assert largest_potential(found, LARGEST, steps) > INT32_MAX // 4  # the units are used
    if sign < 0:
        negative = replace(found.convolutions[0], weight=-found.convolutions[0].weight.abs())
        found = replace(found, convolutions=(negative,), bias=-found.bias)
    full = torch.ones(steps, 1, 500, 1, 1, dtype=torch.int8)
    entering = torch.ones(steps, 1, 1, 1, 1, dtype=torch.int8)
    spikes, state = run_layer(found, {"x": full, "s": entering})
    each = int(found.convolutions[0].weight.sum()) << found.shift
    each += int(found.shortcuts[0].coefficient) + int(found.bias)
    wanted = int(found.v_init) + steps * each - int(found.theta) * int(spikes.sum())  # exact
    assert state.v.item() == wanted
    assert abs(wanted) > INT32_MAX // 8


def test_a_unit_by_hand() -> None:
    one = torch.ones(1, dtype=torch.float64)
    weight = torch.tensor([0.5, -0.25], dtype=torch.float64).view(1, 2, 1, 1)
    convolution = convolution_of(weight)
    given_layer = FloatLayer(
        "y", (1, 1, 1), [convolution], [], one, one / 2, 0 * one.view(1, 1), False
    )
    found = quantise(given_layer, "int8", LARGEST, steps=64)
    # The scale is 0.5 / 127; -0.25 is -63.5 of it, which rounds to even.
    assert found.convolutions[0].weight.flatten().tolist() == [127, -64]
    # One step adds at most 191 of it: 64 of them leave 2^31 / (64 * 191), 17 bits; 16 are the most.
    assert found.shift == 16
    assert found.theta.item() == round(1.0 / (0.5 / 127) * 2**16)
    assert found.v_init.item() == round(0.5 / (0.5 / 127) * 2**16)


@pytest.mark.parametrize("seed", range(5))
def test_weights_of_8_bits_take_one_pass_in_int16_too(seed: int) -> None:
    given_layer = of_bytes(seed)
    found, wanted = (quantise(given_layer, p, LARGEST, 64) for p in ("int16", "int8"))
    assert found.precision == "int8"
    assert torch.equal(found.convolutions[0].weight, wanted.convolutions[0].weight)
    assert torch.equal(found.unit, wanted.unit)
    # The scale is the largest weight's over 127; of int16 there are 257 in it.
    scale = found.unit * 2**found.shift
    weight = given_layer.convolutions[0].weight.clone()
    for off, precision in ((0.4 / 257, "int8"), (0.6 / 257, "int16")):
        moved = weight.clone()
        moved[1, 5] += off * scale[1]
        other = replace(given_layer, convolutions=[convolution_of(moved)])
        assert quantise(other, "int16", LARGEST, 64).precision == precision


def test_weights_take_as_few_bytes_as_hold_them() -> None:
    """Of a neuron whose largest weight is 127, 32,639 or 8,355,711 and another is 1."""
    for precision, kind in WEIGHTS.items():
        given_layer = of_weights([float(kind.largest), 1.0])
        given_layer = replace(given_layer, theta=given_layer.theta * 2 * kind.largest)
        assert quantise(given_layer, "int24", LARGEST, 8).precision == precision


def test_weights_that_bytes_hold_beside_a_far_larger_one() -> None:
    """127 and 1, in units of theta: in int8 most look lost. Two bytes then, not none."""
    given_layer = of_weights([127.0, *[1.0] * 20])
    for precision in ("int8", "int16"):
        assert quantise(given_layer, precision, LARGEST, 16).precision == "int16"


@pytest.mark.parametrize("seed", range(5))
def test_weights_of_8_bits_with_coarse_units_take_two(seed: int) -> None:
    """An output without weights, whose bias is all it has, takes the shifts' room from all."""
    whole = of_bytes(seed)
    weight = whole.convolutions[0].weight.clone()
    weight[2] = 0
    pruned = replace(whole, convolutions=[convolution_of(weight)])
    narrow, found = (quantise(pruned, p, LARGEST, 64) for p in ("int8", "int16"))
    assert found.precision == "int16"
    assert (narrow.unit / found.unit)[:2].max() > 100


def test_what_cannot_be_held_is_refused() -> None:
    broken = layer()
    broken.convolutions[0].weight[0, 0] = float("nan")
    with pytest.raises(Unsupported, match="not finite"):
        quantise(broken, "int8", LARGEST, 64)
    with pytest.raises(Unsupported, match="leave int32"):
        quantise(layer(inputs=5000), "int8", LARGEST, 2**30)


@given(st.sampled_from(list(WEIGHTS)), st.data())
def test_bytes_make_the_weight(precision: str, data: st.DataObject) -> None:
    kind = WEIGHTS[precision]
    value = data.draw(st.integers(-kind.largest, kind.largest))
    found = bytes_of(torch.tensor([value], dtype=kind.dtype))
    assert [byte.dtype for byte in found] == [torch.int8] * (1 + list(WEIGHTS).index(precision))
    assert sum(256**i * int(byte) for i, byte in enumerate(found)) == value


@pytest.mark.parametrize(
    ("largest", "int8", "int16"),
    [
        # A step is largest / 127, largest / 32,639 or largest / 8,355,711, and theta / 16 is 1/16.
        (7.9, "int8", "int16"),
        (8.1, "int16", "int16"),
        (2039.0, "int16", "int16"),
        (2041.0, "int24", "int24"),
        (522_000.0, "int24", "int24"),
        (523_000.0, None, None),
    ],
)
def test_one_large_weight_among_small_ones(
    largest: float, int8: str | None, int16: str | None
) -> None:
    weight = torch.full((4, 5, 1, 1), 0.1, dtype=torch.float64)
    weight[:, 0] = largest
    one = torch.ones(4, dtype=torch.float64)
    convolution = convolution_of(weight)
    wide = FloatLayer("y", (4, 1, 1), (convolution,), (), one, one / 2, 0 * one[None], False)
    for precision, wanted in (("int8", int8), ("int16", int16)):
        if wanted is None:
            with pytest.raises(Unsupported, match="beside its largest weights int24 would lose"):
                quantise(wide, precision, LARGEST, 16)
        else:
            assert quantise(wide, precision, LARGEST, 16).precision == wanted


def test_a_large_weight_of_another_convolution() -> None:
    """All that meets in a membrane has one unit."""
    assert quantise(of_weights([40.0], [0.1] * 20), "int8", LARGEST, 16).precision == "int16"
    assert quantise(of_weights([0.5], [0.1] * 20), "int8", LARGEST, 16).precision == "int8"


def test_units_that_many_steps_make_coarser_are_looked_at_too() -> None:
    """Beside 100 in 32,639 units .1 has 33, and in 2,039, as 2**20 steps would have it, two."""
    wide = of_weights([100.0, *[0.1] * 8])
    found = quantise(wide, "int16", LARGEST, 64).convolutions[0].weight
    assert found.flatten().tolist() == [32639, *[33] * 8]
    with pytest.raises(Unsupported, match="leave int32"):  # unless .1 is less than four units
        quantise(wide, "int16", LARGEST, 2**20)


def test_a_few_coarse_channels_are_taken() -> None:
    """One of four hardly fires: its threshold is far below its weights."""
    weight = torch.full((4, 5, 1, 1), 0.1, dtype=torch.float64)
    weight[:, 0] = 1.0
    theta = torch.tensor([1e-3, 1.0, 1.0, 1.0], dtype=torch.float64)
    convolution = convolution_of(weight)
    layer = FloatLayer("y", (4, 1, 1), (convolution,), (), theta, theta / 2, 0 * theta[None], False)
    assert quantise(layer, "int8", LARGEST, 16).precision == "int8"
