"""Why v_init = theta / 2: its theorems (Bu et al., AAAI 2022), on the neuron itself.

Currents are midpoints of equal parts of the T quantisation cells of [0, theta], theta is a power of
two, and so are T and the parts of a cell: every potential, count and error is exact in float64.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from spikeconv import if_multistep
from spikeconv.calibrate import draw_potential

THETA = 0.5
PARTS = 512  # of a cell; errors are odd multiples of theta / (2 T PARTS)
STEPS = (4, 8, 16)
STARTS = [i / 16 for i in range(17)]


def currents(T: int, first: int, last: int) -> Tensor:
    """Midpoints of the parts of the cells from `first` to before `last`."""
    index = torch.arange(first * PARTS, last * PARTS, dtype=torch.float64)
    return (index + 0.5) / (T * PARTS) * THETA


def errors(z: Tensor, T: int, v_init: float | Tensor) -> Tensor:
    """theta count / T - z of T steps, in units of theta / T."""
    count, _ = if_multistep(z, THETA, v_init, T=T, emit="count", backend="reference")
    return (THETA * count / T - z) / (THETA / T)


def moments(T: int, start: float) -> tuple[Fraction, Fraction]:
    """Mean and mean square of the error over [0, theta], without any rounding."""
    whole = errors(currents(T, 0, T), T, start * THETA) * (2 * PARTS)
    assert torch.equal(whole, whole.round())
    values = whole.long()
    size = values.numel() * 2 * PARTS
    return Fraction(int(values.sum()), size), Fraction(int((values**2).sum()), size * 2 * PARTS)


@pytest.mark.parametrize("T", STEPS)
@pytest.mark.parametrize(
    ("start", "mean", "square"),
    (
        (0.0, -0.5, 0.3333),
        (0.25, -0.25, 0.1458),
        (0.5, 0.0, 0.0833),
        (0.75, 0.25, 0.1458),
        (1.0, 0.5, 0.3333),
    ),
)
def test_table(T: int, start: float, mean: float, square: float) -> None:
    """In units of theta / T; the digits of the square are cut off after four."""
    assert moments(T, start)[0] == mean
    assert float(moments(T, start)[1]) == pytest.approx(square, abs=1e-4)


@pytest.mark.parametrize("T", STEPS)
def test_mean_error(T: int) -> None:
    """E[err] = (v_init - theta / 2) / T, exactly: 0 at one half, and only there."""
    for start in STARTS:
        assert moments(T, start)[0] == Fraction(start) - Fraction(1, 2)
    assert [start for start in STARTS if moments(T, start)[0] == 0] == [0.5]


@pytest.mark.parametrize("T", STEPS)
def test_mean_square_error(T: int) -> None:
    """E[err^2] = (theta^2 / 12 + (v_init - theta / 2)^2) / T^2, exactly: least at one half.

    Of PARTS midpoints the variance is 1 / 12 less 1 / (12 PARTS^2).
    """
    variance = Fraction(1, 12) - Fraction(1, 12 * PARTS**2)
    for start in STARTS:
        assert moments(T, start)[1] == variance + (Fraction(start) - Fraction(1, 2)) ** 2
    assert min(STARTS, key=lambda start: moments(T, start)[1]) == 0.5


@pytest.mark.parametrize("T", STEPS)
def test_a_quarter_of_the_square_error_of_zero(T: int) -> None:
    """1 / 12 against 1 / 3, each less what midpoints lack, 1 / (12 PARTS^2)."""
    missing = Fraction(1, 12 * PARTS**2)
    assert 4 * (moments(T, 0.5)[1] + missing) == moments(T, 0.0)[1] + missing


@pytest.mark.parametrize("T", (8, 16))
@pytest.mark.parametrize(("v_init", "variance"), (("uniform", 1 / 12), ("gaussian", 1 / 16)))
def test_random_potentials(v_init: str, variance: float, T: int) -> None:
    """Mean theta / 2: no error on average, but 1 / 12 and the potentials' variance of square error.

    Over cells so far from 0 and theta that a normal potential within two thetas of the middle, 8
    deviations, loses nothing at either end. Tolerances are five standard errors of the mean of N
    draws: the error has variance 1 / 12 + variance, and its square less than 1 / 4 of it.
    """
    z = currents(T, 2, T - 2).repeat(128 // T)
    start = draw_potential(v_init, z.shape, seed=1).double()
    error = errors(z, T, start * THETA)
    assert (start - 0.5).abs().max() < 2
    tolerance = 5 * ((1 / 12 + variance) / len(z)) ** 0.5
    assert abs(error.mean().item()) < tolerance
    square = error.square().mean().item()
    assert square == pytest.approx(1 / 12 + variance, abs=tolerance / 2)
    half = errors(z, T, THETA / 2)
    assert half.mean() == 0 and square > 1.5 * half.square().mean().item()
