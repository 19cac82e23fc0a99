"""A current that an image adds at every step, as digits: how near they are, and what is beyond."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeconv.fuse.digits import Digits
from spikeconv.fuse.layer import WEIGHTS
from spikeconv.fuse.quantise import quantise
from spikeconv.fuse.reach import largest_potential
from spikeconv.fuse.reference import run_layer
from tests.fuse.float_layers import INT32_MAX, LARGEST, layer


def test_digits_by_hand() -> None:
    """1 is worth 2 units of a half; two digits hold 32512 = 127 * 255 + 127."""
    digits = Digits({"low": 127, "high": 127}, torch.tensor([2], dtype=torch.int32))
    half = torch.tensor([0.5], dtype=torch.float64)
    values = [300.4, -128.0, 127.0, 0.0, float("nan"), 32512.0, 1e30, -float("inf")]
    low, high = digits.of(torch.tensor(values).view(-1, 1, 1, 1), half)
    assert low.dtype == torch.int8
    assert low.flatten().tolist() == [45, 127, 127, 0, -127, 127, 127, -127]
    assert high.flatten().tolist() == [1, -1, 0, 0, -127, 127, 127, -127]


@given(
    seed=st.integers(0, 1000),
    inputs=st.sampled_from([1, 7, 300]),
    steps=st.sampled_from([1, 16, 64, 1024]),
    signed=st.booleans(),
    theta=st.sampled_from([1e-6, 1.0, 1e6]),
    precision=st.sampled_from(list(WEIGHTS)),
)
@settings(max_examples=60, deadline=None)
def test_beyond_what_digits_hold_a_static_current_decides_alone(
    seed: int, inputs: int, steps: int, signed: bool, theta: float, precision: str
) -> None:
    given = replace(layer(inputs=inputs, seed=seed, signed=signed, theta=theta), static=True)
    found = quantise(given, precision, LARGEST, steps)
    assert largest_potential(found, LARGEST, steps) <= INT32_MAX
    assert found.digits is not None
    generator = torch.Generator().manual_seed(seed)
    T = min(steps, 8)
    spikes = {
        "x": torch.randint(0, 2, (T, 2, inputs, 1, 1), generator=generator, dtype=torch.int8),
        "s": torch.randint(0, 2, (T, 2, min(3, inputs), 1, 1), generator=generator).char(),
    }
    for far, fires in ((1e30, 1), (-1e30, 0)):
        current = torch.full((2, 3, 1, 1), far)
        digits = found.digits.of(current, found.unit)
        for name, digit in zip(found.digits.largest, digits, strict=True):
            spikes[name] = digit.expand(T, -1, -1, -1, -1)
        emitted, _ = run_layer(found, spikes)
        assert bool((emitted == fires).all())


@pytest.mark.parametrize(("precision", "bits"), [("int8", 16), ("int16", 16), ("int24", 24)])
@given(seed=st.integers(0, 1000), theta=st.sampled_from([1.0, 10.0, 100.0]))
@settings(max_examples=20, deadline=None)
def test_a_static_current_is_off_by_a_fraction_of_a_threshold(
    precision: str, bits: int, seed: int, theta: float
) -> None:
    thetas = torch.full((3,), theta, dtype=torch.float64)
    found = quantise(replace(layer(seed=seed), theta=thetas, static=True), precision, LARGEST, 64)
    assert found.digits is not None
    generator = torch.Generator().manual_seed(seed)
    current = (2 * torch.rand(5, 3, 1, 1, generator=generator) - 1) * theta
    digits = found.digits.of(current, found.unit)
    coefficients = [s.coefficient for s in found.shortcuts if s.source in found.digits.largest]
    units = sum(c.view(-1, 1, 1) * d for c, d in zip(coefficients, digits, strict=True))
    off = (units * found.unit.view(-1, 1, 1) - current.double()).abs()
    most = torch.maximum(found.theta / 2**bits, torch.ones(3)) * found.unit / 2
    assert bool((off <= 1.001 * most.view(-1, 1, 1)).all())
