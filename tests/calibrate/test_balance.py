"""Local threshold balancing against its own steps, by hand and on the data themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikeconv.calibrate import ChannelHistogram, thresholds
from spikeconv.calibrate.balance import balance
from tests.calibrate.layers import layer


def steps(z: Tensor, count: int = 1000) -> float:
    """theta <- theta + mean of 2 (z - theta)+, as often as said, on the data."""
    theta = torch.zeros((), dtype=torch.float64)
    for _ in range(count):
        theta += 2 * (z.double() - theta).clamp(min=0).mean()
    return theta.item()


def sometimes(p: float, value: float = 1.0, count: int = 4000) -> Tensor:
    """`value` with probability p, else 0."""
    x = torch.zeros(count)
    x[: round(p * count)] = value
    return x


@pytest.mark.parametrize("p", (0.00025, 0.001, 0.01, 0.25, 0.5))
@pytest.mark.parametrize("value", (1.0, 3.0, 1e-12, 1e12))
def test_rarely_active(p: float, value: float) -> None:
    """1 with probability p: theta_k = theta_{k-1} + 2p (1 - theta_{k-1}) = 1 - (1 - 2p)^k.

    Within a bin's width, 2 / 2048 of a value of 1 and 4 / 2048 of one of 3.
    """
    wanted = value * (1 - (1 - 2 * p) ** 1000)
    assert balance(layer(sometimes(p, value))).item() == pytest.approx(wanted, rel=2e-3)


def test_two_values_by_hand() -> None:
    """Half 0, a quarter 1, a quarter 2: 0 -> 2 (1 / 4 + 2 / 4) = 3/2 -> 3/2 + 2 (1/2) / 4 = 7/4,
    and from there half of what is missing to 2 at every step.
    """
    z = torch.tensor([0.0, 0, 1, 2])
    assert steps(z, 1) == 1.5 and steps(z, 2) == 1.75 and steps(z, 4) == 2 - 1 / 16
    assert balance(layer(z)).item() == pytest.approx(2, abs=4 / 2048)


def test_nearly_always_active() -> None:
    """A constant 1: 0 -> 2, beyond it, and never back; theta is the largest current."""
    assert steps(torch.ones(4)) == 2
    assert balance(layer(torch.ones(4))).item() == 1


def test_of_all_currents() -> None:
    """Negative ones count as not above theta; never active is 0."""
    x = torch.stack([torch.tensor([-5.0, -1, 1, 2]), torch.tensor([-5.0, -1, 0, 0])], 1)
    assert balance(layer(x))[0].item() == pytest.approx(2, abs=4 / 2048)
    assert balance(layer(x))[1].item() == 0


@pytest.mark.parametrize("scale", (0.1, 1.0, 300.0))
@pytest.mark.parametrize("shift", (-3.0, -1.0, 0.0))
def test_like_steps_on_the_data(shift: float, scale: float) -> None:
    """Of normal currents: bins take the place of their values, so within one of them."""
    z = (torch.randn(5000) + shift) * scale
    assert balance(layer(z)).item() == pytest.approx(steps(z), rel=2e-3)


def test_every_channel_for_itself_and_a_layer_as_one() -> None:
    x = torch.stack([sometimes(0.001), sometimes(0.01, 8.0), -torch.ones(4000)], 1)
    histogram = ChannelHistogram(3)
    histogram.update(x)
    options = {"threshold": "balance", "T": 4, "start": 0.5, "percent": 99.9}
    each, _ = thresholds(histogram, granularity="channel", **options)
    assert each[0].item() == pytest.approx(steps(x[:, 0]), rel=2e-3)
    assert each[2] == each[1] == balance(layer(x))[1]  # never active: the layer's largest
    whole, _ = thresholds(histogram, granularity="layer", **options)
    assert whole.tolist() == [pytest.approx(steps(x.flatten()), rel=2e-3)]
