"""Which tile a layer runs with on a GPU: timed at its first call, then known. Needs triton."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from spikeconv.fuse.gpu_layer import GpuLayer
from spikeconv.fuse.tile_cache import TileCache, cache_folder
from spikeconv.kernels.conv_launch import WRITTEN, Tile, conv_if
from spikeconv.kernels.conv_tiles import tiles
from spikeconv.kernels.conv_timing import code_version, time_tiles
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
    if interpreted():
        grouped = any(one.group[0] for one in layer.passes)
        launch(tile=_INTERPRETED_GROUPED if grouped else _INTERPRETED)
        return
    untried = os.environ.get("SPIKECONV_TUNE") == "0"
    tile = None if untried else layer.tiles.get((images, T))
    if tile is None:
        device = layer.theta.device
        with torch.cuda.device(device):  # whose streams and events are asked and timed
            candidates = tiles(layer.problem(images, T))
            if untried or torch.cuda.is_current_stream_capturing():
                launch(tile=candidates[0])
                return
            key = signature(layer, images, T, device)
            written = [outputs[name] for name in WRITTEN if outputs[name] is not None]
            timed = partial(time_tiles, launch, written)
            tile = choose(key, candidates, TileCache(cache_folder()), timed)
        layer.tiles[images, T] = tile
    launch(tile=tile)


def signature(layer: GpuLayer, images: int, T: int, device: torch.device) -> dict[str, object]:
    """Everything that a choice depends on; numbers of images count to the next power of two."""
    return {
        "device": torch.cuda.get_device_name(device),
        "capability": list(torch.cuda.get_device_capability(device)),
        "versions": [torch.__version__, *code_version()],
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
        time_all: seconds of every candidate, infinity for one that cannot be used.

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
