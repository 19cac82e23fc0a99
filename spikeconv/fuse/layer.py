"""The integer program's data: what one layer of integer neurons adds up, and what it compares with.

Everything is plain numbers and tensors. `reference` defines what they mean, engines compute it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spikeconv.fuse.digits import Digits

Pair = tuple[int, int]

LARGEST_COUNT = 127
"""Spikes that a pool may add up: what a byte holds with its sign."""


@dataclass(frozen=True)
class WeightType:
    """How weights of so many bytes are kept.

    Attributes:
        dtype: of their tensors.
        largest: absolute value, such that the highest byte is at most 127 as well.
    """

    dtype: torch.dtype
    largest: int


WEIGHTS = {
    "int8": WeightType(torch.int8, 127),
    "int16": WeightType(torch.int16, 127 * 257),
    "int24": WeightType(torch.int32, 127 * 65793),
}
"""By precision, the fewest bytes first."""


@dataclass(frozen=True)
class Convolution:
    """Integer weights over the spikes of one population; a linear layer is one over all of them.

    Attributes:
        source: name of the population, or of the pool, whose spikes it reads.
        weight: int8, int16 or, of up to 24 bits, int32 ``[K, C / groups, kh, kw]``.
        stride: (vertical, horizontal), 1 or more.
        padding: zeros (above, left of) the image; below and right as many as the output needs.
        dilation: (vertical, horizontal), 1 or more.
        groups: divides C and K.
    """

    source: str
    weight: Tensor
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class Shortcut:
    """Spikes that enter a membrane of their own place, times a number for each channel.

    Output ``[channel + c, y, x]`` receives ``coefficient[c]`` times source
    ``[c, y * stride[0], x * stride[1]]``; output channels outside of that receive nothing.

    Attributes:
        source: name of the population, or of the pool.
        coefficient: int32 ``[C]``, in units of the membrane.
        stride: (vertical, horizontal), 1 or more.
        channel: the output channel of source channel 0, 0 or more.
    """

    source: str
    coefficient: Tensor
    stride: Pair = (1, 1)
    channel: int = 0


@dataclass(frozen=True)
class Pool:
    """Sums of spikes over windows: average pooling before its division.

    Attributes:
        name: of its value.
        source: name of the population.
        kernel: (height, width).
        stride: (vertical, horizontal).
        padding: zeros (above, left of) the image.
        shape: ``(C, H, W)`` of its value.
    """

    name: str
    source: str
    kernel: Pair
    stride: Pair
    padding: Pair
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class IntegerLayer:
    """One population of integer neurons and all that enters its membranes.

    For t = 1..T, with s the spikes of the sources at that step (-1, 0 or 1; of pools, sums)::

        acc = sum over convolutions of weight * s
        m   = v + 2^shift * acc + sum over shortcuts of coefficient * s + bias_t
        s_t = 1 if m >= theta else 0        (signed: -1 where m < 0 and the net count is above 0)
        v   = m - theta * s_t

    All of it is int32, and no sum can leave int32 within `steps` steps: `spikeconv.fuse.quantise`
    has proven it.

    Attributes:
        name: of the population.
        shape: ``(K, H, W)``.
        convolutions, shortcuts: what enters.
        shift: of the accumulator, 0 or more.
        theta: int32 ``[K]``, 1 or more.
        v_init: int32 ``[K]`` or ``[K, H, W]``.
        bias: int32 ``[S, K]`` or ``[S, K, H, W]``: step t takes row min(t, S - 1), from 0.
        signed: whether neurons also fire -1.
        unit: float64 ``[K]``: what 1 is worth in the units of the network it was made from.
        steps: so many steps are safe.
        digits: the static current that some of the shortcuts read, None where there is none.
    """

    name: str
    shape: tuple[int, int, int]
    convolutions: tuple[Convolution, ...]
    shortcuts: tuple[Shortcut, ...]
    shift: int
    theta: Tensor
    v_init: Tensor
    bias: Tensor
    signed: bool
    unit: Tensor
    steps: int
    digits: Digits | None = None

    def sources(self) -> Iterator[str]:
        """Names of what it reads, with repetitions."""
        yield from (convolution.source for convolution in self.convolutions)
        yield from (shortcut.source for shortcut in self.shortcuts)

    def to(self, device: torch.device) -> IntegerLayer:
        """The layer with its tensors on a device."""
        return replace(
            self,
            convolutions=tuple(
                replace(one, weight=one.weight.to(device)) for one in self.convolutions
            ),
            shortcuts=tuple(
                replace(one, coefficient=one.coefficient.to(device)) for one in self.shortcuts
            ),
            theta=self.theta.to(device),
            v_init=self.v_init.to(device),
            bias=self.bias.to(device),
            digits=self.digits and self.digits.to(device),
        )

    @property
    def precision(self) -> str:
        """``"int8"``, ``"int16"`` or ``"int24"``: of its widest weights."""
        dtypes = {term.weight.dtype for term in self.convolutions}
        wide = [name for name, kind in WEIGHTS.items() if kind.dtype in dtypes]
        return wide[-1] if wide else "int8"


def bytes_of(weight: Tensor) -> list[Tensor]:
    """Weights as int8 tensors, the lowest byte first: weight = sum of 256^i * bytes[i].

    >>> low, high = bytes_of(torch.tensor([300, -129, 32639], dtype=torch.int16))
    >>> low.tolist(), high.tolist()
    ([44, 127, 127], [1, -1, 127])
    """
    rest = weight.to(torch.int32)
    found = []
    for kind in WEIGHTS.values():
        if weight.dtype == kind.dtype:
            break
        low = ((rest + 128) & 255) - 128
        rest = (rest - low) >> 8
        found.append(low.to(torch.int8))
    return [*found, rest.to(torch.int8)]


def channels_last(value: Tensor) -> Tensor:
    """``[B, K, H, W]`` as dense ``[B, H, W, K]``, as kernels have it; mostly a view of the same.

    >>> channels_last(torch.zeros(2, 3, 4, 5)).shape
    torch.Size([2, 4, 5, 3])
    """
    return value.permute(0, 2, 3, 1).contiguous()


def channels_first(value: Tensor) -> Tensor:
    """The view ``[B, K, H, W]`` of ``[B, H, W, K]``; undoes `channels_last`."""
    return value.permute(0, 3, 1, 2)
