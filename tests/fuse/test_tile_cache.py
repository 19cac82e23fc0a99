"""Choices of tiles on disk: kept, found again, and never trusted further than they can be read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from spikeconv.fuse.gpu_tuning import choose
from spikeconv.fuse.tile_cache import TileCache, cache_folder
from spikeconv.kernels.conv_launch import Tile

TILES = (Tile(128, 64, 4, 128, 8, 3), Tile(64, 32, 8, 64, 4, 4), Tile(16, 32, 16, 64, 4, 4))
KEY = {"device": "some GPU", "shape": [128, 28, 28], "T": 16}


class Clock:
    """Times tiles as it is told to, and counts how often it was asked."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0

    def __call__(self, candidates: Sequence[Tile]) -> Mapping[Tile, float]:
        self.asked += 1
        return dict(zip(candidates, self.seconds, strict=True))


def test_the_fastest_is_chosen_once_and_kept(tmp_path: Path) -> None:
    clock = Clock(3.0, 1.0, 2.0)
    for _ in range(2):  # the second time as another process would: a cache of its own
        assert choose(KEY, TILES, TileCache(tmp_path / "new"), clock) == TILES[1]
    assert clock.asked == 1


def test_another_key_is_another_choice(tmp_path: Path) -> None:
    cache = TileCache(tmp_path)
    assert choose(KEY, TILES, cache, Clock(3.0, 1.0, 2.0)) == TILES[1]
    assert choose({**KEY, "T": 4}, TILES, cache, Clock(1.0, 2.0, 3.0)) == TILES[0]
    assert choose(KEY, TILES, cache, Clock(1.0, 2.0, 3.0)) == TILES[1]


def test_what_cannot_be_launched_is_not_chosen(tmp_path: Path) -> None:
    infinite = float("inf")
    assert choose(KEY, TILES, TileCache(tmp_path), Clock(infinite, infinite, 2.0)) == TILES[2]
    with pytest.raises(RuntimeError, match="no tile can be launched"):
        choose({"T": 1}, TILES, TileCache(tmp_path), Clock(infinite, infinite, infinite))


BROKEN = {
    "empty": "",
    "cut off": '{"key": {"device": "so',
    "not text": "\udcff",
    "no object": "[1, 2]",
    "another key": json.dumps({"key": {"T": 5}, "choice": {}}),
    "no such tile": json.dumps({"key": KEY, "choice": {"pixels": 7}}),
    "no choice": json.dumps({"key": KEY}),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_ignored_and_written_anew(text: str, tmp_path: Path) -> None:
    cache = TileCache(tmp_path)
    choose(KEY, TILES, cache, Clock(3.0, 1.0, 2.0))
    (file,) = tmp_path.iterdir()
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    clock = Clock(1.0, 2.0, 3.0)
    assert choose(KEY, TILES, cache, clock) == TILES[0]
    assert clock.asked == 1
    assert json.loads(file.read_text())["key"] == KEY
    assert choose(KEY, TILES, cache, clock) == TILES[0]
    assert clock.asked == 1
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_tile_that_is_no_candidate_any_more_is_not_taken(tmp_path: Path) -> None:
    cache = TileCache(tmp_path)
    choose(KEY, TILES, cache, Clock(3.0, 1.0, 2.0))
    assert choose(KEY, TILES[2:], cache, Clock(1.0)) == TILES[2]


def test_where_nothing_can_be_written_the_choice_holds_for_now(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = TileCache(tmp_path / "file" / "folder")
    with pytest.warns(UserWarning, match="could not be kept .* SPIKECONV_CACHE names another"):
        assert choose(KEY, TILES, cache, Clock(3.0, 1.0, 2.0)) == TILES[1]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SPIKECONV_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "spikeconv"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "spikeconv"
    monkeypatch.setenv("SPIKECONV_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
