"""How much of a call runs at once: so much as the caches and the memory hold."""

from __future__ import annotations

import sys

import torch

from spikeconv.calibrate.inputs import Batch, tensors_of
from spikeconv.network.program import Program
from spikeconv.network.timing import Timing

# Steps that run at once hold about so many values of the widest layer: a gigabyte in float32
# together with its input and output, however large T is.
_VALUES_AT_ONCE = 2**26

# On a GPU this part of its memory is for each of those values, and never fewer of them than above:
# every chunk of steps is a launch of every layer, and integer kernels read weights once a chunk.
_GPU_BYTES_A_VALUE = 64

# On a CPU, more images are run a few at a time, so that what one layer writes the next one finds in
# the cache, and the allocator need not fetch fresh pages: 4 MB a tensor and thread was the fastest
# of 1 to 64 MB for ResNet-20 (one thread 308 ms against 774 ms, two 206 ms against 482 ms).
_VALUES_IN_CACHE = 2**20

INTEGER_STEPS = 32
"""So many steps integer kernels take at once, at most: all of them, or what is read again leaves
the cache."""

# Where spikes are kept as bits, a step's largest value is an encoder's byte; a float32 has its
# input and its output beside it.
_STEPS_AS_BITS = 8


def images_at_once(
    program: Program,
    batch: Batch,
    T: int,
    timing: Timing,
    *,
    whole: bool = False,
    trains: bool = False,
) -> int:
    """Images that run together: on a CPU so many that all their T steps stay in its cache.

    Elsewhere all, or so many that COS's steps, which cannot be run in chunks, fit in memory.

    Args:
        program: what runs.
        batch: all images.
        T: time-steps.
        timing: the network's.
        whole: all that changes in time stays in integers, but for what is read out.
        trains: that is read out at every step.
    """
    if tensors_of(batch)[0].device.type == "cpu":
        values = _VALUES_IN_CACHE * torch.get_num_threads()
        widest = program.widest_for(batch)
        read_out = program.read_out_for(batch) * T if trains else 0.0
        return max(1, int(values / (max(widest, read_out) if whole else widest * T)))
    cos = max(1, timing.cos)
    return max(1, min(len(batch), int(_values(batch) / (program.widest_for(batch) * cos))))


def images_of_all_steps(program: Program, batch: Batch, T: int) -> int:
    """Images that run together where all their T steps run at once, 1 or more."""
    at_once = images_at_once(program, batch, T, Timing())
    return max(1, min(at_once, int(_values(batch) / (program.widest_for(batch) * T))))


def steps_at_once(
    program: Program, batch: Batch, *, most: int | None = None, as_bits: bool = False
) -> int:
    """Time-steps that run together for such a batch; more are run in chunks, v handed over.

    In a graph that is compiled or exported, for any number of images: all of them.

    Args:
        program: what runs.
        batch: for how many images, and where.
        most: so many at most.
        as_bits: all that changes in time is in integers, and of all steps only bits are kept.
    """
    if torch.compiler.is_compiling():
        return sys.maxsize
    values = _values(batch) * (_STEPS_AS_BITS if as_bits else 1)
    steps = max(1, int(values / (program.widest_for(batch) * max(1, len(batch)))))
    return steps if most is None else min(steps, most)


def _values(batch: Batch) -> int:
    """Values of the widest layer that may be held at once."""
    device = tensors_of(batch)[0].device
    if device.type != "cuda":
        return _VALUES_AT_ONCE
    memory: int = torch.cuda.get_device_properties(device).total_memory
    return max(_VALUES_AT_ONCE, memory // _GPU_BYTES_A_VALUE)
