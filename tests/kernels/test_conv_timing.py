"""Tiles are taken only where they write what most of them write."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from spikeconv.kernels import conv_timing
from spikeconv.kernels.conv_launch import Tile
from spikeconv.kernels.conv_timing import time_tiles

TOO_LARGE, FIRST, WRONG, SAME = (Tile(pixels, 32, 8, 64, 4, 3) for pixels in (256, 128, 64, 32))


@pytest.fixture
def _every_launch_takes_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_timing, "_seconds", lambda launch: 1.0)


class Launch:
    """Fills two tensors; with one tile a last bit is another, and one does not fit."""

    def __init__(self) -> None:
        self.written: list[Tensor] = [torch.zeros(5, dtype=torch.int8), torch.zeros(2)]

    def __call__(self, *, tile: Tile, warmup: bool = False) -> Any:
        if warmup:
            return
        if tile == TOO_LARGE:
            raise OutOfResources(2, 1, "shared memory")
        self.written[0].fill_(3)
        self.written[1].fill_(7)
        self.written[1][1] += tile == WRONG


@pytest.mark.usefixtures("_every_launch_takes_a_second")
def test_a_tile_with_other_bits_is_named_and_not_used() -> None:
    launch = Launch()
    with pytest.warns(UserWarning, match=r"pixels=64,.* other bits than with .*pixels=128,"):
        seconds = time_tiles(launch, launch.written, (TOO_LARGE, FIRST, WRONG, SAME))
    infinite = float("inf")
    assert seconds == {TOO_LARGE: infinite, FIRST: 1.0, WRONG: infinite, SAME: 1.0}


@pytest.mark.usefixtures("_every_launch_takes_a_second")
@pytest.mark.parametrize("tiles", [(WRONG, SAME, FIRST), (SAME, WRONG, FIRST), (SAME, WRONG)])
def test_most_tiles_are_right_whichever_is_the_first(tiles: tuple[Tile, ...]) -> None:
    launch = Launch()
    with pytest.warns(UserWarning, match=r"with \[Tile\(pixels=64,.* other bits than with"):
        seconds = time_tiles(launch, launch.written, tiles)
    assert seconds == {tile: float("inf") if tile == WRONG else 1.0 for tile in tiles}


@pytest.mark.usefixtures("_every_launch_takes_a_second")
def test_tiles_that_agree_are_all_timed() -> None:
    launch = Launch()
    assert time_tiles(launch, launch.written, (SAME, FIRST)) == {SAME: 1.0, FIRST: 1.0}
    assert time_tiles(launch, [], (FIRST, WRONG)) == {FIRST: 1.0, WRONG: 1.0}
