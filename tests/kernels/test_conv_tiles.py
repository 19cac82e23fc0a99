"""Which tiles are tried: they fit the layer, and there is always one."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from spikeconv.kernels import conv_tiles
from spikeconv.kernels.conv_launch import ROWS
from spikeconv.kernels.conv_tiles import Problem, tiles

PROBLEMS = st.builds(
    Problem,
    pixels=st.integers(1, 2**22),
    channels=st.integers(1, 4096),
    steps=st.integers(1, 100),
    depth=st.sampled_from([0, 16, 576, 25088]),
    bits=st.sampled_from([1, 2, 4, 8]),
    sums=st.integers(0, 3),
    signed=st.booleans(),
    grouped=st.booleans(),
)


def test_examples() -> None:
    assert doctest.testmod(conv_tiles).attempted > 0
    assert doctest.testmod(conv_tiles).failed == 0


@given(PROBLEMS)
def test_tiles_fit(problem: Problem) -> None:
    found = tiles(problem)
    assert found
    assert len(set(found)) == len(found)
    for tile in found:
        assert ROWS % tile.channels == 0, "a tile reads no weights beyond the last"
        assert tile.chunk % 32 == 0
        if problem.grouped and problem.depth:
            assert tile.channels == 32, "weights are laid out for it"
        sums = tile.pixels * tile.channels * tile.steps / (32 * tile.num_warps)
        assert sums <= (64 if problem.sums > 1 and problem.depth else 128)


def test_many_pixels_take_tiles_with_many_sums_and_few_pixels_many_programs() -> None:
    many = Problem(64 * 28 * 28, 128, 16, 1152, bits=1, sums=1, signed=False, grouped=False)
    few = Problem(49, 512, 16, 4608, bits=1, sums=1, signed=False, grouped=False)
    first = tiles(many)[0]
    assert first.pixels * first.channels * first.steps == 128 * 32 * first.num_warps
    programs = [-(-49 // tile.pixels) * (512 // tile.channels) for tile in tiles(few)]
    assert programs == sorted(programs, reverse=True)
