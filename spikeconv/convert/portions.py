"""How many images and time-steps run together: as many as cache or memory have room for."""

from __future__ import annotations

import math

import torch

from spikeconv.calibrate.inputs import Batch, tensors_of
from spikeconv.convert.program import Program

# Steps that run at once hold about so many values of the widest layer: a gigabyte in float32
# together with its input and output, however large T is.
_VALUES_AT_ONCE = 2**26

# On a CPU, more images are run a few at a time, so that what one layer writes the next one finds in
# the cache, and the allocator need not fetch fresh pages: 4 MB a tensor and thread was the fastest
# of 1 to 64 MB for ResNet-20 (one thread 308 ms against 774 ms, two 206 ms against 482 ms).
_VALUES_IN_CACHE = 2**20


def images_at_once(program: Program, x: Batch, T: int, cos: int) -> int:
    """Images of x whose T steps run together, 1 or more.

    On a CPU so many that all their steps stay in its cache; elsewhere all, or so many that COS's
    steps, which cannot be run in chunks, fit in memory.
    """
    if tensors_of(x)[0].device.type == "cpu":
        values = _VALUES_IN_CACHE * torch.get_num_threads()
        return max(1, int(values / (_widest(program, x) * T)))
    return max(1, min(len(x), int(_VALUES_AT_ONCE / (_widest(program, x) * max(1, cos)))))


def steps_at_once(program: Program, x: Batch) -> int:
    """Time-steps of a batch that run together, 1 or more."""
    return max(1, int(_VALUES_AT_ONCE / (_widest(program, x) * max(1, len(x)))))


def _widest(program: Program, x: Batch) -> float:
    """Values of one image of x in the widest layer."""
    scale = max(
        math.prod(tensor.shape[1:]) / max(1, math.prod(item.shape))
        for tensor, item in zip(tensors_of(x), program.inputs, strict=True)
    )
    return max(1.0, program.widest * scale)
