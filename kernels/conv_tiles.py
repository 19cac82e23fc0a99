"""Which tiles of the convolution kernel are worth trying for a layer."""

from __future__ import annotations

from dataclasses import dataclass

from .conv_launch import Tile

# Programs that keep a GPU of the last generations busy: about one on each of its processors.
_BUSY = 128

# Tiles with many sums for each byte that is loaded. They take pixels * channels * steps /
# (32 * num_warps) registers of a thread; 128 are half of what it has. The first spills least; each
# other was the fastest of some thirty for a layer of ResNet-18 on an H200 (bench/NOTES.md).
_OF_EIGHT_STEPS = (
    Tile(128, 32, 8, 64, 8, 3),
    Tile(64, 64, 8, 128, 8, 3),
    Tile(64, 32, 8, 128, 4, 4),
    # The same sums in fewer products, each of which is waited for. Every warp has all steps of its
    # pixels, so that nothing moves between them.
    Tile(64, 32, 8, 128, 4, 4, joined=2),
    Tile(64, 32, 8, 64, 4, 4, joined=4),
    Tile(128, 32, 8, 64, 8, 3, joined=4),
)
_OF_FOUR_STEPS = (
    Tile(64, 64, 4, 64, 4, 3),
    Tile(64, 128, 4, 128, 8, 3),
)
# Fits every layer.
_ANY = Tile(64, 32, 4, 64, 4, 4)
# With half the sums: for layers that have other things to keep in registers.
_ROOMY = (
    _ANY,
    Tile(64, 64, 2, 128, 8, 3),
    Tile(64, 64, 4, 128, 8, 3),
    Tile(128, 32, 4, 128, 8, 3),
    Tile(64, 32, 4, 64, 4, 4, joined=4),
)
# For layers of three sums and more, as of 24 bits: half of them again for each thread. On Ampere
# these spill too.
_ROOMIER = (
    Tile(64, 32, 4, 64, 8, 4),
    Tile(64, 64, 2, 128, 8, 3),
)
# Where there are few pixels: more programs, and weights read once for 16 steps.
_NARROW = (
    Tile(32, 32, 8, 128, 4, 4),
    Tile(16, 32, 16, 128, 4, 4),
    Tile(16, 32, 8, 128, 4, 4),
)
_WITHOUT_PRODUCTS = (Tile(64, 32, 8, 64, 4, 2), Tile(32, 64, 4, 64, 4, 2))


@dataclass(frozen=True)
class Problem:
    """What a choice of tile depends on.

    Attributes:
        pixels: of the output, of all images.
        channels: of the output.
        steps: T.
        depth: terms of the longest sum, 0 where there are no matrix products.
        bits: of the widest field that a matrix product reads.
        sums: that one current is made of, each with registers of its own.
        signed: neurons have a net count to keep.
        grouped: a convolution has groups, and its weights are laid out for 32 channels.
    """

    pixels: int
    channels: int
    steps: int
    depth: int
    bits: int
    sums: int
    signed: bool
    grouped: bool


def tiles(problem: Problem) -> tuple[Tile, ...]:
    """Tiles to try, the one first that is taken untried.

    >>> few = Problem(49, 512, 16, 4608, bits=1, sums=1, signed=False, grouped=False)
    >>> tiles(few)[0].pixels, tiles(few)[0].steps
    (16, 16)
    """
    if problem.depth == 0:
        found = list(_WITHOUT_PRODUCTS)
    else:
        found = [tile for tile in _listed(problem) if _fits(tile, problem)] or [_ANY]
    busy = [tile for tile in found if _programs(tile, problem) >= _BUSY]
    if busy:
        return tuple(busy)
    if problem.depth > 0:
        found += [tile for tile in _NARROW if _fits(tile, problem)]
    return tuple(sorted(found, key=lambda tile: -_programs(tile, problem)))


def _listed(problem: Problem) -> tuple[Tile, ...]:
    """Tiles that keep a large layer's registers full and not more."""
    if problem.sums > 2:
        return _ROOMIER
    if problem.sums > 1:
        return _ROOMY
    if problem.signed:
        return (*_ROOMY, *_OF_FOUR_STEPS)
    return (*_OF_EIGHT_STEPS, *_OF_FOUR_STEPS)


def _fits(tile: Tile, problem: Problem) -> bool:
    if problem.grouped and tile.channels != 32:
        return False
    # Channels beyond the layer's are work for nothing, and so are steps beyond T.
    if tile.channels > max(32, problem.channels):
        return False
    if tile.steps > 4 and tile.steps >= 2 * problem.steps:
        return False
    # So many planes a chunk, each a tile in memory.
    return tile.steps * problem.bits <= 32


def _programs(tile: Tile, problem: Problem) -> int:
    return -(-problem.pixels // tile.pixels) * -(-problem.channels // tile.channels)
