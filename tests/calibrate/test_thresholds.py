"""Thresholds: largest value, percentile, dead channels, caps, by hand and against brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikeconv.calibrate import THRESHOLDS, ChannelHistogram, thresholds
from spikeconv.convert import SpikingNetwork
from tests.convert.nets import Net, converted, images

# Those that need no trained bound.
CALIBRATED = [name for name in THRESHOLDS if name not in ("tcl", "qcfs")]


def theta(x: Tensor, threshold: str, granularity: str = "channel", **options: Any) -> list[float]:
    """Thresholds of currents `[B, C]`."""
    histogram = ChannelHistogram(x.shape[1])
    histogram.update(x)
    given = {"T": 4, "start": 0.5, "percent": 99.9, **options}
    values, _ = thresholds(histogram, threshold=threshold, granularity=granularity, **given)
    assert values.dtype == torch.float32
    return values.tolist()


CURRENTS = torch.tensor([[1.0, -2], [4.75, 0.1], [3, 0.3], [-9, -1]])


def test_largest() -> None:
    """Exactly the largest current of a channel, or of the layer."""
    assert theta(CURRENTS, "max") == [4.75, CURRENTS[2, 1]]
    assert theta(CURRENTS, "max", "layer") == [4.75]


def test_percentile_by_hand() -> None:
    """Of the activations 0 .1 .3 0 and 1 4.75 3 0, zeros counted, within a bin."""
    for percent, wanted in ((100, [4.75, 0.3]), (75, [3, 0.1]), (74, [3, 0.1])):
        first, second = theta(CURRENTS, "percentile", percent=percent)
        assert first == pytest.approx(wanted[0], abs=8 / 2048)
        assert second == pytest.approx(wanted[1], abs=0.5 / 2048)
    # Half of the second channel is 0, so that percentile would be 0: the largest value instead.
    assert theta(CURRENTS, "percentile", percent=50)[1] == CURRENTS[2, 1]
    (layer,) = theta(CURRENTS, "percentile", "layer", percent=87.5)  # the seventh of eight values
    assert layer == pytest.approx(3, abs=8 / 2048)


@pytest.mark.parametrize(("count", "percent"), [(1000, 99.9), (2000, 99.9), (100, 55), (100, 28)])
def test_percentile_of_a_whole_rank_is_not_the_next_value(count: int, percent: float) -> None:
    """Of 1, ..., n all up to the rank are 1 and all above 50; float64 has 999 as a little more."""
    rank = round(count * percent / 100)
    x = torch.ones(count, 1)
    x[rank:] = 50
    (value,) = theta(x, "percentile", percent=percent)
    assert value == pytest.approx(1, abs=64 / 2048)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-200, 2000), min_size=1, max_size=200),
    st.integers(1, 1000).map(lambda tenths: tenths / 10),
)
def test_percentile_within_one_bin_of_the_sample_s(values: list[int], percent: float) -> None:
    x = torch.tensor(values) / 128
    (value,) = theta(x.unsqueeze(1), "percentile", percent=percent)
    activations = np.sort(x.clamp(min=0).double().numpy())
    largest = activations[-1]
    if largest == 0:
        assert value == 1
        return
    width = 2.0 ** math.frexp(largest)[1] / 2048
    rank = len(activations) * percent / 100
    # 1e-9: whether a rank that should be whole is a little more or less is rounding.
    low = activations[max(0, math.ceil(rank - 1e-9) - 1)]
    high = activations[max(0, min(len(activations), math.ceil(rank + 1e-9)) - 1)]
    if high == 0 or value == np.float32(largest):
        assert value == np.float32(largest)  # a threshold is not 0
    else:
        assert low - width <= value <= high + width * 1.001


@pytest.mark.parametrize("threshold", CALIBRATED)
def test_never_zero_nor_above_the_largest(threshold: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 6) * torch.tensor([1e-30, 1e-6, 1, 30, 1e6, 1e30])
    largest = x.amax(0).tolist()
    for start in (0.0, 0.5, 1.0, -1.0, 3.0):
        for T in (1, 4, 64):
            for value, limit in zip(theta(x, threshold, T=T, start=start), largest, strict=True):
                assert 0 < value <= limit * (1 + 1e-6)


@pytest.mark.parametrize("threshold", CALIBRATED)
def test_dead_channels_get_the_layer_s_largest_threshold(threshold: str) -> None:
    histogram = ChannelHistogram(4)
    histogram.update(torch.tensor([[1.0, -1, 0, 2], [0.5, -2, 0, 1]]))
    options = {"threshold": threshold, "T": 4, "start": 0.5, "percent": 99.0}
    values, dead = thresholds(histogram, granularity="channel", **options)
    assert dead == 2
    assert values[1] == values[2] == values.max() == values[3] > values[0]
    per_layer, dead = thresholds(histogram, granularity="layer", **options)
    assert dead == 2 and len(per_layer) == 1


@pytest.mark.parametrize("granularity", ("channel", "layer"))
@pytest.mark.parametrize("threshold", CALIBRATED)
def test_dead_layer(threshold: str, granularity: str) -> None:
    """It gets 1, keeps silent, and the network still computes what its ANN does."""

    def body(s: Net, x: Tensor) -> Any:
        return s.head(F.relu(s.c2(F.relu(s.c1(x) - 1e3) + F.relu(s.c1(x)))))

    net = Net(body)
    snn = converted(net, T=64, threshold=threshold, granularity=granularity)
    dead, *_ = snn.populations().values()
    assert (dead.v_threshold == 1).all()
    first, *others = snn.report().rows
    assert (first.firing_rate, first.never_fired, first.error, first.dead_channels) == (0, 1, 0, 4)
    assert [row.dead_channels for row in others] == [0, 0]
    x = images(4)
    assert (snn(x) - net(x)).abs().max() < 0.1


def test_headroom_by_hand() -> None:
    """A quarter more than the largest of 4 is 5, up to a cap; no image was active in the third."""
    currents = torch.tensor([[4.0, 1, -1], [2, 0.5, 0]])
    assert theta(currents, "max", headroom=0.25) == [5, 1.25, 5]
    assert theta(currents, "max", "layer", headroom=0.25) == [5]
    assert theta(currents, "max", headroom=0.25, cap=4.5) == [4.5, 1.25, 4.5]
    assert theta(currents, "mse", headroom=1.0) == [2 * one for one in theta(currents, "mse")]


@pytest.mark.parametrize(
    ("headroom", "error", "match"),
    (
        (-0.1, ValueError, "headroom, in units of theta, must be from 0 to 10, got -0.1"),
        (10.5, ValueError, "from 0 to 10, got 10.5"),
        (math.nan, ValueError, "from 0 to 10, got nan"),
        ("0.1", TypeError, "headroom must be a number, got '0.1'"),
        (True, TypeError, "headroom must be a number, got True"),
    ),
)
def test_no_such_headroom(headroom: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        converted(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), images(4, 2), headroom=headroom)


def test_numbers_of_numpy_are_numbers_and_true_is_none() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    given = {"percentile": np.float32(99.0), "headroom": np.float64(0.5)}
    settings = converted(net, images(4, 2), threshold="percentile", **given).report().settings
    assert settings["headroom"] == 0.5 and type(settings["headroom"]) is float  # as files have it
    with pytest.raises(TypeError, match="percentile must be a number, got True"):
        converted(net, images(4, 2), threshold="percentile", percentile=True)


@pytest.mark.parametrize("granularity", ("channel", "layer"))
@pytest.mark.parametrize("threshold", CALIBRATED)
def test_a_cap_bounds_the_threshold(threshold: str, granularity: str) -> None:
    """However large the currents: what is above the cap counts as the cap."""

    def capped(scale: float) -> SpikingNetwork:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU6(), nn.Conv2d(3, 2, 1))
        return converted(net, images(32) * scale, threshold=threshold, granularity=granularity)

    (node,) = capped(1e4).populations().values()
    assert node.v_threshold.min() >= 5.5 and node.v_threshold.max() <= 6
    # A threshold of "max" is the cap exactly; where the cap is not reached, the largest current.
    if threshold == "max":
        assert (node.v_threshold == 6).all()
        (low,) = capped(0.1).populations().values()
        assert low.v_threshold.max() < 1


def test_granularity() -> None:
    """Per channel `[C, 1, 1]` for maps, `[C]` for vectors; per layer one number."""

    def body(s: Net, x: Tensor) -> Any:
        return F.relu(s.head(F.relu(s.c1(x))))

    maps, vectors = converted(Net(body)).populations().values()
    assert maps.v_threshold.shape == maps.v_init.shape == (4, 1, 1)
    assert vectors.v_threshold.shape == (3,)
    for node in converted(Net(body), granularity="layer").populations().values():
        assert node.v_threshold.shape == node.v_init.shape == ()


def test_maximum_over_all_batches() -> None:
    """Not an average over them: rivals' moving average made it depend on their order."""
    net = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Linear(1, 1))
    (node,) = converted(net, torch.tensor([[1.0], [5], [2]]).split(1)).populations().values()
    assert node.v_threshold.item() == 5
