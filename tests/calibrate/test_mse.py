"""Least-square-error thresholds against optima known in closed form and against fine grids."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikeconv import if_multistep
from spikeconv.calibrate import ChannelHistogram, mse, thresholds
from tests.convert.nets import converted

N = 100_000
QUANTILES = (torch.arange(N, dtype=torch.float64) + 0.5) / N
UNIFORM = QUANTILES
NORMAL = torch.special.ndtri(QUANTILES)
DISTRIBUTIONS = {
    "uniform": UNIFORM,
    "normal": NORMAL,
    "shifted normal": NORMAL - 1.5,
    "exponential": -torch.log(1 - QUANTILES),
    "lognormal": (1.5 * NORMAL).exp(),
    "two-sided and heavy": NORMAL.sign() * NORMAL.square(),
    "with outliers": torch.cat([NORMAL, torch.full((10,), 60.0, dtype=torch.float64)]),
    "two peaks": torch.cat([UNIFORM[: N // 4] / 10 + 1, UNIFORM / 10 + 5]),
}


def histogram(*channels: Tensor) -> ChannelHistogram:
    result = ChannelHistogram(len(channels))
    result.update(torch.stack(channels, 1).float())
    return result


def optimum(z: Tensor, T: int, start: float = 0.5) -> float:
    values, _ = thresholds(
        histogram(z), threshold="mse", granularity="channel", T=T, start=start, percent=99.9
    )
    return values.item()


def error(z: Tensor, theta: float, T: int, start: float = 0.5) -> float:
    """Mean of (theta / T clip(floor(z T / theta + start), 0, T) - max(z, 0))^2."""
    levels = torch.floor(z * T / theta + start).clamp(0, T)
    return float((theta / T * levels - z.clamp(min=0)).square().mean())


@pytest.mark.parametrize(
    ("T", "theta"), ((1, 1.224), (2, 1.686), (4, 2.135), (8, 2.551), (16, 2.932))
)
def test_standard_normal(T: int, theta: float) -> None:
    """Optima of the closed iteration of Huang et al. (ICML 2025) for mu = 0, sigma = 1."""
    found = optimum(NORMAL, T)
    assert found == pytest.approx(theta, rel=0.03)
    assert error(NORMAL, found, T) <= 1.01 * error(NORMAL, theta, T)


@pytest.mark.parametrize("T", (1, 2, 4, 8, 16))
def test_uniform(T: int) -> None:
    """From theta/2, T half-open cells of theta/T around the levels leave 1 - theta = theta/2T at
    the top: theta = 2T / (2T + 1). From 0 the cells lie above the levels: theta = T / (T + 1).
    """
    assert optimum(UNIFORM, T) == pytest.approx(2 * T / (2 * T + 1), rel=0.015)
    assert optimum(UNIFORM, T, start=0.0) == pytest.approx(T / (T + 1), rel=0.015)


@pytest.mark.parametrize("start", (0.0, 0.25, 0.5, 0.9))
@pytest.mark.parametrize("T", (1, 3, 4, 16))
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_against_a_fine_grid(name: str, T: int, start: float) -> None:
    """The error at the threshold found is within 2 % of the least of 400 over three decades.

    Within 5 % with outliers 60 standard deviations out, where a bin is wide against the rest.
    """
    z = DISTRIBUTIONS[name][:: 10 if name != "with outliers" else 1]
    grid = z.max() * torch.logspace(-3, 0, 400, dtype=torch.float64)
    best = min(error(z, theta, T, start) for theta in grid.tolist())
    assert (
        error(z, optimum(z, T, start), T, start)
        <= (1.05 if name == "with outliers" else 1.02) * best
    )


def test_every_channel_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together, and in parts where they are too many for the memory."""
    channels = [NORMAL, NORMAL * 100, UNIFORM, -UNIFORM, NORMAL * 1e-9]
    options = {"threshold": "mse", "granularity": "channel", "start": 0.5, "percent": 99.9}
    together, _ = thresholds(histogram(*channels), T=4, **options)
    for index in (0, 1, 2, 4):
        assert together[index].item() == optimum(channels[index], 4)
    assert together[1] == pytest.approx(100 * together[0].item(), rel=0.02)
    monkeypatch.setattr(mse, "_AT_ONCE", 1)
    assert torch.equal(thresholds(histogram(*channels), T=4, **options)[0], together)


def test_per_layer_is_the_optimum_of_all_values() -> None:
    values, _ = thresholds(
        histogram(NORMAL, UNIFORM * 3),
        threshold="mse",
        granularity="layer",
        T=4,
        start=0.5,
        percent=99.9,
    )
    assert values.tolist() == [optimum(torch.cat([NORMAL, UNIFORM * 3]), 4)]


def test_grows_with_time() -> None:
    """More steps, finer levels, less clipping; at many steps nearly the largest value."""
    found = [optimum(NORMAL, T) for T in (1, 2, 4, 8, 16, 32, 64)]
    assert found == sorted(found)
    assert optimum(UNIFORM, 256) == pytest.approx(1, abs=0.01)


def test_the_error_is_that_of_the_neuron() -> None:
    """q is what `if_multistep` does in T steps under a constant current."""
    torch.manual_seed(0)
    z = torch.randn(2000)
    for start in (0.0, 0.5):
        theta = optimum(z, 4, start)
        emitted, _ = if_multistep(z, theta, start * theta, T=4, emit="count")
        of_neuron = (emitted * theta / 4 - z.clamp(min=0)).square().mean().item()
        assert of_neuron == pytest.approx(error(z.double(), theta, 4, start), rel=1e-3)


@pytest.mark.parametrize("exponent", [-90, -60, 60, 120])
def test_no_scale_is_too_small_or_too_large(exponent: int) -> None:
    """A power of two changes nothing but the threshold's; squares would leave float32."""
    z = torch.stack([NORMAL, NORMAL / 3 - 0.2, 0 * NORMAL - 1], 1)
    for granularity in ("channel", "layer"):
        found = []
        for scale in (1.0, 2.0**exponent):
            one = ChannelHistogram(3)
            one.update((z * scale).float())
            options = {"threshold": "mse", "granularity": granularity, "percent": 99.9}
            found.append(thresholds(one, T=4, start=0.5, **options)[0].double() / scale)
        assert torch.equal(found[0], found[1])


def test_in_a_network() -> None:
    """The threshold of a layer that reads normal currents, set for the T of the conversion."""
    net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU(), torch.nn.Linear(1, 1))
    z = NORMAL.float().unsqueeze(1)
    for T, theta in ((1, 1.224), (4, 2.135)):
        (node,) = converted(net, z[torch.randperm(N)], threshold="mse", T=T).populations().values()
        assert node.v_threshold.item() == pytest.approx(theta, rel=0.03)
        assert node.v_init.item() == node.v_threshold.item() / 2
