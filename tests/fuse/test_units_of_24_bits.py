"""Weights of 24 bits: units as fine as int32 has room for, and nowhere coarser than with 16."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spikeconv.fuse.channels import Unsupported
from spikeconv.fuse.float_layer import FloatLayer
from spikeconv.fuse.layer import IntegerLayer
from spikeconv.fuse.quantise import quantise
from tests.fuse.float_layers import INT32_MAX, LARGEST, convolution_of, layer, of_weights


def test_units_of_24_bits_by_hand() -> None:
    """Two neurons, of which the second has a weight that is 100 times as large."""
    theta = torch.ones(2, dtype=torch.float64)
    weight = torch.tensor([[0.5, -0.125], [50.0, -0.125]], dtype=torch.float64).view(2, 2, 1, 1)
    given_layer = FloatLayer(
        "y", (2, 1, 1), [convolution_of(weight)], [], theta, theta / 2, 0 * theta[None], False
    )
    found = quantise(given_layer, "int24", LARGEST, steps=64)
    small, large = found.convolutions[0].weight.flatten(1).tolist()
    # 0.5 is 8,355,711 of its scale, and 64 steps of all weights with theta and v_init, 41.5, are 83
    # times that, 694 million, so that f = 1 is safe and 2 is not. -0.125 is -2,088,927.75 of it.
    assert (found.shift, small) == (1, [8355711, -2088928])
    assert found.theta[0].item() == 4 * 8355711
    # In a scale of 50 / 8,355,711 the second reaches 3209.5, 536 million.
    assert large[0] == 8355711
    # Of 1000 steps both scales are as much larger as int32 needs, each by itself.
    found = quantise(given_layer, "int24", LARGEST, steps=1000)
    reached = torch.tensor([626.5, 50126.5], dtype=torch.float64) / (found.unit * INT32_MAX)
    assert bool(((reached > 0.995) & (reached < 1)).all())


def test_many_units_of_a_threshold_where_little_enters() -> None:
    """A step adds at most 200,000 times theta, so that int32 leaves it 11 bits, weights or not."""
    given_layer = of_weights([100_000.0, 30_000.0, -70_000.0])
    wide, fine = (quantise(given_layer, p, LARGEST, 8) for p in ("int16", "int24"))
    assert fine.precision == "int24"
    assert fine.theta.item() > 0.99 * wide.theta.item()


def off(found: IntegerLayer, wanted: FloatLayer) -> float:
    """How far weights are from what they stand for, on average, in units of theta."""
    scale = (found.unit * 2**found.shift).view(-1, 1, 1, 1)
    weight = found.convolutions[0].weight.double() * scale
    difference = (weight - wanted.convolutions[0].weight).abs().flatten(1).mean(1)
    return float((difference / wanted.theta).mean())


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(("T", "better"), [(8, 20), (16, 10), (64, 1.5), (1024, 1.5)])
def test_a_channel_without_weights_takes_nothing_from_the_others(
    static: bool, T: int, better: float
) -> None:
    """Digits of what an image adds hold as many units in every channel as in the coarsest."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 64, 3, 3, generator=generator, dtype=torch.float64) / 20
    weight[5] = 0
    theta = torch.rand(64, generator=generator, dtype=torch.float64) + 0.5
    given_layer = FloatLayer(
        "y",
        (64, 1, 1),
        [convolution_of(weight)],
        [],
        theta,
        theta / 2,
        0 * theta[None],
        False,
        static,
    )
    wide, fine = (quantise(given_layer, p, LARGEST, T) for p in ("int16", "int24"))
    assert off(fine, given_layer) * better < off(wide, given_layer)


def test_what_many_steps_make_coarse_is_as_with_16_bits() -> None:
    """A bias of 20,000 times theta, 3e8 of them in 2^14 steps: weights of a tenth are nothing."""
    one = torch.ones(4, dtype=torch.float64)
    weight = one.view(4, 1, 1, 1) / 10
    given_layer = replace(
        layer(channels=4), convolutions=[convolution_of(weight)], theta=one, bias=20_000 * one[None]
    )
    wide, fine = (quantise(given_layer, p, LARGEST, 2**14) for p in ("int16", "int24"))
    assert torch.equal(fine.unit, wide.unit)
    with pytest.raises(Unsupported, match="its sums over 1073741824 steps leave int32"):
        quantise(layer(inputs=5000), "int24", LARGEST, 2**30)
