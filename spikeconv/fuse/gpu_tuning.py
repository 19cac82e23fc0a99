"""Which tile a layer runs with on a GPU: timed at its first call, then known. Needs triton."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.runtime.errors import OutOfResources, PTXASError

from spikeconv.fuse.gpu_layer import GpuLayer
from spikeconv.fuse.tile_cache import TileCache, cache_folder
from spikeconv.kernels import conv_if as kernel_file
from spikeconv.kernels.conv_launch import Tile, conv_if
from spikeconv.kernels.conv_tiles import tiles
from spikeconv.ops.triton import interpreted

# In the interpreter an operation costs about the same whatever its size.
_INTERPRETED = Tile(128, 64, 8, 64, 4, 2)
_INTERPRETED_GROUPED = Tile(128, 32, 8, 64, 4, 2)


def run(
    layer: GpuLayer, data: Mapping[str, Tensor], *, T: int, images: int, **outputs: Any
) -> None:
    """Launch a layer with the best tile that is known.

    At the first call with a new shape the fitting tiles are compiled and timed. Where
    ``SPIKECONV_TUNE=0`` is set or a CUDA graph is being captured, the first of them is taken.

    Args:
        layer: what to run.
        data: fields of its sources.
        T: time-steps.
        images: B.
        outputs: as `spikeconv.kernels.conv_launch.conv_if` takes them, with `v`, `net` and `done`.
    """
    dense = layer.dense(data)
    launch = partial(
        conv_if,
        dense,
        layer.each(data),
        theta=layer.theta,
        bias=layer.bias,
        T=T,
        shape=(images, *layer.shape[1:], layer.shape[0]),
        shift=layer.shift,
        signed=layer.signed,
        **outputs,
    )
    problem = layer.problem(images, T)
    if interpreted():
        launch(tile=_INTERPRETED_GROUPED if problem.grouped else _INTERPRETED)
        return
    tile = layer.tiles.get((images, T))
    if tile is None:
        candidates = tiles(problem)
        device = layer.theta.device
        if os.environ.get("SPIKECONV_TUNE") == "0" or torch.cuda.is_current_stream_capturing():
            launch(tile=candidates[0])
            return
        key = signature(layer, images, T, device)
        tile = choose(key, candidates, TileCache(cache_folder()), partial(_time_all, launch))
        layer.tiles[images, T] = tile
    launch(tile=tile)


def signature(layer: GpuLayer, images: int, T: int, device: torch.device) -> dict[str, object]:
    """Everything that a choice depends on; numbers of images count to the next power of two."""
    return {
        "device": torch.cuda.get_device_name(device),
        "capability": list(torch.cuda.get_device_capability(device)),
        "versions": [torch.__version__, triton.__version__, _source()],
        "shape": list(layer.shape),
        "images": 1 << (images - 1).bit_length(),
        "T": T,
        "signed": layer.signed,
        "passes": [
            [
                one.bits,
                one.span,
                list(one.depth),
                list(one.convolution.weight.shape),
                list(one.convolution.stride),
                list(one.group),
                str(one.weight.dtype),
            ]
            for one in layer.passes
        ],
        "terms": [[one.spec.bits, list(one.spec.kernel)] for one in layer.terms],
    }


def choose(
    key: Mapping[str, object],
    candidates: Sequence[Tile],
    kept: TileCache,
    time_all: Callable[[Sequence[Tile]], Mapping[Tile, float]],
) -> Tile:
    """The candidate that is on disk, or the fastest, which is then kept there.

    Args:
        key: what the choice depends on.
        candidates: tiles, one or more.
        kept: choices on disk.
        time_all: seconds of every candidate, infinity for one that cannot be launched.

    Raises:
        RuntimeError: none of the candidates can be launched.
    """
    found = kept.get(key, candidates)
    if found is None:
        seconds = time_all(candidates)
        found = min(seconds, key=seconds.__getitem__)
        if seconds[found] == float("inf"):
            raise RuntimeError(f"TritonEngine: no tile can be launched for {dict(key)}")
        kept.put(key, found, {str(tile): repr(taken) for tile, taken in seconds.items()})
    return found


def _time_all(launch: Callable[..., Any], candidates: Sequence[Tile]) -> dict[Tile, float]:
    """Compile side by side, then time one after the other."""
    with (
        ThreadPoolExecutor(os.cpu_count()) as workers,
        triton.AsyncCompileMode(workers, ignore_errors=True),
    ):
        for tile in candidates:
            launch(tile=tile, warmup=True)
    return {tile: _seconds(partial(launch, tile=tile)) for tile in candidates}


def _seconds(launch: Callable[[], Any], calls: int = 5, rounds: int = 3) -> float:
    """The least of a few samples; infinity where the launch takes more than the GPU has."""
    try:
        launch()
    except (OutOfResources, PTXASError):
        return float("inf")
    samples = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            launch()
        end.record()
        end.synchronize()
        milliseconds: float = start.elapsed_time(end)
        samples.append(milliseconds / 1000 / calls)
    return min(samples)


@cache
def _source() -> str:
    """A hash of the kernels' text, of which a choice may know nothing after a change."""
    folder = Path(kernel_file.__file__).parent
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return hashlib.sha256(text).hexdigest()[:16]
