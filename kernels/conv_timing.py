"""How long a launch takes with each tile, on the GPU that is here."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.runtime.errors import OutOfResources, PTXASError

from .conv_launch import Tile

# Cycles of a GPU: about a millisecond.
_PAUSE = 2_000_000


def time_tiles(
    launch: Callable[..., Any], written: Sequence[Tensor], candidates: Sequence[Tile]
) -> dict[Tile, float]:
    """Seconds of a launch with each tile; infinity where it takes more than the GPU has.

    All are compiled side by side, then timed one after the other. Whatever the tile, the bits are
    the same. Where they are not, a compiler has erred, and most are taken to be right (of as many,
    the first): the others get infinity too, and a warning names them.

    Args:
        launch: `conv_launch.conv_if` with everything but `tile` and `warmup` filled in.
        written: the tensors that a launch fills.
        candidates: tiles.
    """
    compile_all(launch, candidates)
    seconds = dict.fromkeys(candidates, float("inf"))
    agreeing: list[tuple[list[Tensor], list[Tile]]] = []  # bits, and the tiles that give them
    for tile in candidates:
        run = partial(launch, tile=tile)
        if not _launches(run):
            continue
        for bits, tiles in agreeing:
            if all(map(torch.equal, written, bits)):
                tiles.append(tile)
                break
        else:
            agreeing.append(([tensor.clone() for tensor in written], [tile]))
        seconds[tile] = _seconds(run)
    agreeing.sort(key=lambda found: -len(found[1]))  # of equals, the first stays the first
    for _, tiles in agreeing[1:]:
        seconds.update(dict.fromkeys(tiles, float("inf")))
        warnings.warn(
            f"spikeconv: with {tiles} this GPU gives other bits than with {agreeing[0][1]}, so "
            f"they are not used: an error of triton {triton.__version__} or of the kernel, which "
            "spikeconv's developers would like to know of",
            stacklevel=2,
        )
    return seconds


def compile_all(launch: Callable[..., Any], candidates: Sequence[Tile]) -> None:
    """Compile a launch with each tile, in several threads where triton can."""
    if not hasattr(triton, "AsyncCompileMode"):  # before triton 3.4; launches then compile
        return
    with (
        ThreadPoolExecutor(os.cpu_count()) as workers,
        triton.AsyncCompileMode(workers, ignore_errors=True),  # which the launch will raise
    ):
        for tile in candidates:
            launch(tile=tile, warmup=True)


@cache
def code_version() -> tuple[str, str]:
    """Triton's version, and a hash of the kernels' text: another is timed anew."""
    text = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return triton.__version__, hashlib.sha256(text).hexdigest()[:16]


def _launches(launch: Callable[[], Any]) -> bool:
    """Launches, unless it takes more than the GPU has."""
    try:
        launch()
    except (OutOfResources, PTXASError):
        return False
    return True


def _seconds(launch: Callable[[], Any], calls: int = 5, rounds: int = 3) -> float:
    """The least of a few samples.

    A launch takes Python 60 us, longer than a small layer takes a GPU. So calls are lined up behind
    a pause, and run one right after the other.
    """
    samples = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(_PAUSE)
        start.record()
        for _ in range(calls):
            launch()
        end.record()
        end.synchronize()
        milliseconds: float = start.elapsed_time(end)
        samples.append(milliseconds / 1000 / calls)
    return min(samples)
