"""What a launch fixes at compile time: a program's size, and the dimensions operands vary along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# 128 threads a program: a multiprocessor then holds a dozen programs, each at its own place in
# time, and the loads of some cover the arithmetic of others.
NUM_WARPS = 4

# The widest access a GPU thread can make.
VECTOR_BYTES = 16

# Time-steps whose inputs are fetched before the first of them is used.
STEPS_IN_FLIGHT = 4

# For `varying_dims`: a value lies at its neuron's own index.
FLAT = -1


@dataclass(frozen=True)
class LaunchShape:
    """Programs of `block` neurons on `num_warps` warps, loading `steps` time-steps at once."""

    block: int
    num_warps: int
    steps: int


def launch_shape(bytes_per_value: int) -> LaunchShape:
    """Shape for kernels whose widest value read or written at every step has so many bytes.

    A thread gets as many neurons as fill one vector of that value. With more, it would leave gaps
    between the threads of a warp, or need an exchange through shared memory at every step; with
    fewer, accesses would be narrower than they can be. Element sizes alone decide: nothing is tuned
    at run time, and no new T or N costs a compilation.
    """
    neurons_per_thread = VECTOR_BYTES // bytes_per_value
    return LaunchShape(32 * NUM_WARPS * neurons_per_thread, NUM_WARPS, STEPS_IN_FLIGHT)


def backward_shape() -> LaunchShape:
    """Shape for kernels that keep potentials and gradients of several time-steps in registers.

    Four neurons a thread, whatever the dtype: eight of 16 bits would need more registers than leave
    room for a second program.
    """
    return LaunchShape(32 * NUM_WARPS * 4, NUM_WARPS, STEPS_IN_FLIGHT)


def varying_dims(sizes: Sequence[int], strides: Sequence[int]) -> int:
    """Bit mask of the dimensions an operand varies along, or FLAT where it is dense over `sizes`.

    >>> varying_dims([2, 3, 4], [0, 1, 0])  # per channel
    2
    >>> varying_dims([2, 3, 4], [12, 4, 1])
    -1
    """
    flat, dims, dense_stride = True, 0, 1
    for d in reversed(range(len(sizes))):
        if sizes[d] > 1:
            flat &= strides[d] == dense_stride
            dims |= (strides[d] != 0) << d
        dense_stride *= sizes[d]
    return FLAT if flat else dims
