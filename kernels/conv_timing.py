"""How long a launch takes with each tile, on the GPU that is here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import triton
from triton.runtime.errors import OutOfResources, PTXASError

from .conv_launch import Tile

# Cycles of a GPU: about a millisecond.
_PAUSE = 2_000_000


def time_tiles(launch: Callable[..., Any], candidates: Sequence[Tile]) -> dict[Tile, float]:
    """Seconds of a launch with each tile; infinity where it takes more than the GPU has.

    All are compiled side by side, then timed one after the other.

    Args:
        launch: `conv_launch.conv_if` with everything but `tile` and `warmup` filled in.
        candidates: tiles.
    """
    compile_all(launch, candidates)
    return {tile: _seconds(partial(launch, tile=tile)) for tile in candidates}


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


def _seconds(launch: Callable[[], Any], calls: int = 5, rounds: int = 3) -> float:
    """The least of a few samples.

    A launch takes Python 60 us, longer than a small layer takes a GPU. So calls are lined up behind
    a pause, and run one right after the other.
    """
    try:
        launch()
    except (OutOfResources, PTXASError):
        return float("inf")
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
