"""The closed form for normal currents against published and brute-force optima, and its limits."""

from __future__ import annotations

import math

import pytest
import torch

from spikeconv.calibrate import ChannelHistogram, thresholds
from spikeconv.calibrate.layer import Layer
from spikeconv.calibrate.mse_closed import mse_closed
from tests.calibrate.layers import layer

N = 40_000
NORMAL = torch.special.ndtri((torch.arange(N, dtype=torch.float64) + 0.5) / N)
GRID = torch.linspace(-8, 8, 16_001, dtype=torch.float64)
DENSITY = (GRID.square() / -2).exp() / math.sqrt(2 * math.pi) / 1000


def normal(mu: float, sigma: float, T: int = 4) -> Layer:
    """A layer with just these moments."""
    histogram = ChannelHistogram(1)
    histogram.seen += 2**20
    histogram.total += 2**20 * mu
    histogram.squares += 2**20 * (mu**2 + sigma**2)
    histogram.largest += 1e6
    return Layer(histogram, T)


def error(mu: float, sigma: float, theta: float, T: int) -> float:
    """E[(theta / T clip(floor(z T / theta + 1 / 2), 0, T) - max(z, 0))^2], integrated."""
    z = mu + sigma * GRID
    levels = torch.floor(z * T / theta + 0.5).clamp(0, T)
    return float(((theta / T * levels - z.clamp(min=0)).square() * DENSITY).sum())


def k(theta: float, mu: float, sigma: float, n: int) -> float:
    """The factor of the iteration, as it is printed, term by term."""
    odd = range(1, 2 * n, 2)
    u = [((i * theta / (2 * n)) - mu) / (math.sqrt(2) * sigma) for i in odd]
    d = 1 - sum(i / n**2 * math.erf(x) for i, x in zip(odd, u, strict=True))
    first = mu / theta * (1 - sum(map(math.erf, u)) / n) / d
    second = sigma / (theta * math.sqrt(math.pi / 2)) * sum(math.exp(-x * x) for x in u) / n / d
    return first + second


@pytest.mark.parametrize(
    ("T", "theta"), ((1, 1.224), (2, 1.686), (4, 2.135), (8, 2.551), (16, 2.932))
)
def test_standard_normal(T: int, theta: float) -> None:
    """The fixed points for mu = 0, sigma = 1, to a unit of the last digit known; at any scale; and
    from currents: N quantiles have the moments to about 1e-4.
    """
    assert mse_closed(normal(0, 1, T)).item() == pytest.approx(theta, abs=1e-3)
    assert mse_closed(normal(0, 2.0**10, T)).item() == 2.0**10 * mse_closed(normal(0, 1, T)).item()
    assert mse_closed(layer(NORMAL, T=T)).item() == pytest.approx(theta, abs=1.5e-3)


def test_one_level_by_hand() -> None:
    """n = 1, mu = 0: theta = B / A = sigma phi(u) / Phi(-u) at u = theta / 2 sigma."""
    theta = mse_closed(normal(0, 2, 1)).item() / 2
    u = theta / 2
    density = math.exp(-u * u / 2) / math.sqrt(2 * math.pi)
    assert theta == pytest.approx(density / (math.erfc(u / math.sqrt(2)) / 2), rel=1e-6)


@pytest.mark.parametrize("T", (1, 2, 4, 16))
@pytest.mark.parametrize("mu", (-2.0, -0.5, 0.0, 1.0, 3.0))
def test_is_a_fixed_point_of_the_iteration(mu: float, T: int) -> None:
    """k = 1 there, above 1 before it and below 1 after it."""
    theta = mse_closed(normal(2.5 * mu, 2.5, T)).item()
    assert k(theta, 2.5 * mu, 2.5, T) == pytest.approx(1, abs=1e-6)  # theta is rounded by 6e-8
    assert k(0.9 * theta, 2.5 * mu, 2.5, T) > 1 > k(1.1 * theta, 2.5 * mu, 2.5, T)


@pytest.mark.parametrize("T", (1, 2, 3, 4, 8, 16, 64))
@pytest.mark.parametrize("mu", (-1.5, 0.0, 2.0, 5.0, 12.0))
def test_against_a_grid(mu: float, T: int) -> None:
    """No theta of 300 has less error by more than the integral's own error, about 1e-4 of it.

    At mu = 5 and 12 the error has several minima in theta where levels are far apart.
    """
    theta = mse_closed(normal(mu, 1, T)).item()
    grid = torch.linspace(max(0.0, mu - 5), mu + 7, 301, dtype=torch.float64)[1:]
    assert error(mu, 1, theta, T) <= 1.001 * min(error(mu, 1, t, T) for t in grid.tolist())


def test_per_layer_is_that_of_all_channels_moments() -> None:
    """mu = 0 and 1, sigma = 1 and 1: together mu = 1/2, sigma^2 = 1 + 1/4."""
    histogram = ChannelHistogram(2)
    histogram.update(torch.stack([NORMAL, NORMAL + 1], 1).float())
    options = {"threshold": "mse-closed", "T": 4, "start": 0.5, "percent": 99.9}
    (whole,), _ = thresholds(histogram, granularity="layer", **options)
    sigma = histogram.merged().deviation().item()
    assert sigma == pytest.approx(math.sqrt(1.25), rel=1e-3)
    assert k(whole.item(), 0.5, sigma, 4) == pytest.approx(1, abs=1e-6)
    each, _ = thresholds(histogram, granularity="channel", **options)
    assert each[0].item() == pytest.approx(2.135, abs=1.5e-3)


def test_constant_currents() -> None:
    """sigma = 0: the constant itself, whatever rounding makes of its deviation; below 0 none."""
    x = torch.tensor([0.1, 3.0, 1e20, -2.0, 0.0]).expand(1000, 5)
    assert torch.equal(mse_closed(layer(x)), x[0].clamp(min=0))


def test_far_below_zero() -> None:
    """Where a normal current would never be above 0 the largest that was: 100 sigma here.

    At 2 sigma below it is a normal current like any other.
    """
    z = torch.full((10_000, 1), -1.0, dtype=torch.float64)
    z[0] = 1e-3
    z[1:] += 1e-2 * NORMAL[torch.linspace(0, N - 1, len(z) - 1).long()].unsqueeze(1)
    assert mse_closed(layer(z)).item() == pytest.approx(1e-3)
    assert 0.5 < mse_closed(layer(NORMAL - 2)).item() < 1.5
    assert mse_closed(normal(-40, 1)).item() == 1e6


@pytest.mark.parametrize("sigma", (1e-5, 1e-3, 0.02))
def test_nearly_constant_currents(sigma: float) -> None:
    """One level lies on the constant, with no more error than the noise has."""
    for T in (1, 4, 16):
        theta = mse_closed(normal(1, sigma, T)).item()
        assert error(1, sigma, theta, T) <= 1.0001 * sigma**2


def test_at_most_the_largest() -> None:
    """A tail that the data has not: a uniform current's."""
    z = torch.linspace(-1, 1, 1001).unsqueeze(1)
    assert mse_closed(layer(z, T=64)).item() == 1
