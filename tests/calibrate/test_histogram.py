"""The streamed histogram against brute force, whatever the values, their order and batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from spikeconv.calibrate import ChannelHistogram, histogram
from spikeconv.calibrate.histogram import BINS

some = settings(max_examples=60, deadline=None)

# Zeros, both signs, very different sizes (but not 2^100 times so), and exact powers of two.
VALUES = st.one_of(
    st.integers(-(2**24), 2**24).map(lambda k: k / 2**10),
    st.builds(math.ldexp, st.integers(-(2**24), 2**24), st.integers(-60, 30)),
    st.integers(-60, 50).map(lambda k: 2.0**k),
)


@st.composite
def currents(draw: st.DrawFn) -> Tensor:
    """`[B, C, L]`."""
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))
    return torch.from_numpy(draw(hnp.arrays(np.float32, shape, elements=VALUES)))


def streamed(*batches: Tensor) -> ChannelHistogram:
    result = ChannelHistogram(batches[0].shape[1])
    for batch in batches:
        result.update(batch)
    return result


def assert_equal(a: ChannelHistogram, b: ChannelHistogram) -> None:
    """Equal bits, but for the sums, whose order leaves its rounding in them."""
    for name in ("counts", "exponent", "largest", "seen"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    # Up to 216 terms, each of which rounds by at most 2^-53 of a sum of sizes.
    torch.testing.assert_close(a.squares, b.squares, rtol=256 * 2**-53, atol=0)
    size = (a.squares * a.seen).sqrt()  # at least the sum of sizes
    assert bool(((a.total - b.total).abs() <= 256 * 2**-53 * size).all())


def by_hand(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Counts in (0, 2^e] of one channel, and the bin width, in double precision."""
    positive = values[values > 0].astype(np.float64)
    counts = np.zeros(BINS, np.int64)
    if not len(positive):
        return counts, 0.0
    # Exponents below -100 count as that: so small, a bin would not be a normal float.
    width = 2.0 ** max(math.frexp(positive.max())[1], -100) / BINS
    for value in positive:
        counts[max(0, math.ceil(value / width) - 1)] += 1
    return counts, width


@some
@given(currents())
def test_against_brute_force(x: Tensor) -> None:
    result = streamed(x)
    for channel in range(x.shape[1]):
        values = x[:, channel].numpy().ravel()
        counts, width = by_hand(values)
        assert result.counts[channel].tolist() == counts.tolist()
        assert result.seen[channel] == values.size
        assert result.largest[channel] == max(0, values.max())
        size = float(np.abs(values).max())
        assert result.mean()[channel] == pytest.approx(values.mean(dtype=float), abs=1e-13 * size)
        spread = values.astype(float).std()
        assert result.deviation()[channel] == pytest.approx(spread, rel=1e-6, abs=1e-6 * size)
        if width:
            assert result.width()[channel] == width


@some
@given(currents(), st.randoms(use_true_random=False))
def test_order_and_batches_do_not_matter(x: Tensor, random: object) -> None:
    """Bit for bit: images in any order, in any batches, with ranges that grow on the way."""
    order = list(range(len(x)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert_equal(streamed(*x[order].split(1)), streamed(x))
    assert_equal(streamed(*x.flip(0).split(2)), streamed(x))
    ascending = x[x.flatten(1).amax(1).argsort()]
    assert_equal(streamed(*ascending.split(1)), streamed(*ascending.flip(0).split(1)))


@some
@given(currents())
def test_merged_is_the_histogram_of_all_channels_as_one(x: Tensor) -> None:
    assert_equal(streamed(x).merged(), streamed(x.flatten(1).unsqueeze(1)))


def test_like_torch_histc() -> None:
    """On data that meets no edge, over (0, 8]."""
    x = (torch.randint(0, 2**18, (50, 3, 100)) + 0.5) / 2**15
    result = streamed(x)
    assert result.exponent.tolist() == [3, 3, 3]
    for channel in range(3):
        wanted = torch.histc(x[:, channel].double(), BINS, 0, 8)
        assert torch.equal(result.counts[channel].double(), wanted)


def test_bins_are_open_on_the_left() -> None:
    """1 lies in (1 - w, 1], the last below the middle of (0, 2]; 0 in none."""
    result = streamed(torch.tensor([[1.0, 0.0, -3.0, 2.0**-30]]).unsqueeze(1))
    assert result.exponent.tolist() == [1]
    assert result.counts.nonzero().tolist() == [[0, 0], [0, BINS // 2 - 1]]
    assert result.seen.tolist() == [4]
    assert result.width().tolist() == [2 / BINS]
    assert result.centres()[0, :2].tolist() == [1 / BINS, 3 / BINS]


def test_mean_and_deviation() -> None:
    """Of negative values too; by hand, and for a layer of both channels: sums 12 and 84 of 8."""
    result = streamed(torch.tensor([[[1.0, -3], [2, 2]], [[5, -3], [4, 4]]]))
    assert result.mean().tolist() == [0, 3]
    assert result.deviation().tolist() == [math.sqrt(11), 1]
    whole = result.merged()
    assert whole.mean().tolist() == [1.5]
    assert whole.deviation().tolist() == [math.sqrt(84 / 8 - 1.5**2)]


def test_deviation_of_a_constant() -> None:
    """0 where squares are exact; elsewhere no more than rounding makes of it."""
    result = streamed(torch.tensor([2.5, 0.1, -7.3, 3e38]).expand(50, 4))
    assert result.deviation()[0] == 0
    assert bool((result.deviation() <= 1e-7 * result.mean().abs()).all())


def test_growing_merges_bins() -> None:
    """A value in (2, 4] after some in (0, 1]: four bins become one."""
    small = torch.tensor([[[1.5, 2.5, 4.5, 9.5]]]) / BINS
    before, after = streamed(small, torch.ones(1, 1, 1)), streamed(small, torch.ones(1, 1, 1) * 4)
    assert before.exponent.tolist() == [1]
    assert before.counts[0, :6].tolist() == [1, 1, 1, 0, 1, 0]
    assert after.exponent.tolist() == [3]
    assert after.counts[0, :3].tolist() == [3, 1, 0]


def test_at_least_half_the_bins_lie_below_the_largest_value() -> None:
    for largest in (1.0, 1.0001, 1.9999, 3.0, 1e-20, 1e20):
        result = streamed(torch.full((1, 1, 1), largest))
        assert BINS // 2 <= result.counts.argmax() + 1 <= BINS


@pytest.mark.parametrize("huge", (1.5e38, 3.4e38))
def test_the_largest_floats(huge: float) -> None:
    result = streamed(torch.tensor([[[huge, huge / 2, huge / 4]]]))
    assert result.counts.sum() == 3
    assert result.width().isfinite().all()


@pytest.mark.parametrize("tiny", (1e-38, 1e-42, 2.0**-149))
def test_the_smallest_floats(tiny: float) -> None:
    """Too small for bins of their own: in the first bin of (0, 2^-100]."""
    result = streamed(torch.full((1, 1, 3), tiny))
    assert result.counts[0, 0] == 3
    assert result.largest == torch.tensor(tiny)


def test_the_range_of_small_floats_stays() -> None:
    """Below 2^-100 all share one range, so nothing is merged there."""
    small, smaller = torch.full((1, 1, 1), 2.0**-102), torch.full((1, 1, 1), 2.0**-105)
    both = streamed(smaller, small)
    assert both.counts.nonzero().tolist() == [[0, 63], [0, 511]]
    assert_equal(both, streamed(small, smaller))


@pytest.mark.parametrize("bad", (math.nan, math.inf, -math.inf))
def test_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        streamed(torch.tensor([[[1.0, bad], [0.0, 1.0]]]))


def test_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of an update is bounded: it counts a few images at a time."""
    x = torch.randn(7, 3, 4, 4)
    whole = streamed(x)
    monkeypatch.setattr(histogram, "_AT_ONCE", 2 * x[0].numel())
    assert_equal(streamed(x), whole)


def test_without_positive_values() -> None:
    """A silent channel takes part in a merged histogram with what it saw."""
    result = streamed(torch.tensor([[[-1.0, 0.0], [1.0, 3.0]]]))
    assert result.largest.tolist() == [0, 3]
    merged = result.merged()
    assert (merged.seen.item(), merged.counts.sum(), merged.largest.item()) == (4, 2, 3)
    silent = streamed(-torch.ones(2, 2, 2))
    assert silent.counts.sum() == 0 and silent.merged().counts.sum() == 0


def test_of_vectors_and_half_precision() -> None:
    """`[B, C]`, in bfloat16, counts as the same values in float32."""
    x = torch.randn(9, 4).bfloat16()
    assert_equal(streamed(x), streamed(x.float().unsqueeze(2)))
