"""What computes an integer program: engines, each with a format of its own for spikes.

Every engine gives the bits of `spikeconv.fuse.stepwise.ReferenceEngine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from spikeconv.fuse.encoder import Unpooled
from spikeconv.fuse.layer import IntegerLayer, Pool
from spikeconv.fuse.reference import State


@dataclass(frozen=True)
class Source:
    """A population, or a pool over one, whose spikes integer layers read.

    Attributes:
        name: of the population or pool.
        shape: ``(C, H, W)``.
        largest: the largest sum of spikes of one step: 1 of a population.
        signed: whether the sums may be negative.
        halo: zeros that its readers see beyond the image: (above, left, below, right).
        static: whether it is the same at every step, as digits of a current are.
    """

    name: str
    shape: tuple[int, int, int]
    largest: int
    signed: bool
    halo: tuple[int, int, int, int]
    static: bool = False


@dataclass(frozen=True)
class IntegerProgram:
    """All integer layers and pools of a network, in an order in which sources come first.

    Attributes:
        layers: by name of the population.
        pools: by name of their value.
        sources: everything that is read, by name.
    """

    layers: Mapping[str, IntegerLayer]
    pools: Mapping[str, Pool]
    sources: Mapping[str, Source]

    def sources_of(self, step: str) -> frozenset[str]:
        """Names of what a step reads: a layer or a pool; an encoder, as any other, reads none."""
        if step in self.pools:
            return frozenset((self.pools[step].source,))
        return frozenset(self.layers[step].sources() if step in self.layers else ())


@dataclass(frozen=True)
class Fired:
    """What an encoder, a layer or a pool gave; None for what was not asked for.

    Attributes:
        spikes: in the engine's format, for its layers to read; of a pool, their sums.
        count: int32 ``[B, K, H, W]``, the net count of these steps; None of a pool.
        state: for the steps that follow; None of a pool.
    """

    spikes: Any
    count: Tensor | None
    state: State | None


class Engine(Protocol):
    """Computes parts of one program, with its spikes in between in a format of its own.

    Attributes:
        packs: spikes take bits in that format, not numbers.
        most_steps: that one call takes; None: any number.
        takes_unpooled: encoders are faster on currents that still lack a bias and a max-pool.
    """

    packs: bool
    most_steps: int | None
    takes_unpooled: bool

    def pack(self, name: str, train: Tensor) -> Any:
        """Spikes of a source in the engine's format, from a train ``[T, B, C, H, W]`` of any dtype
        that holds -1, 0 and 1 exactly; of a static source int8, the same at every step."""

    def unpack(self, name: str, spikes: Any) -> Tensor:
        """The train, int8 ``[T, B, C, H, W]``, of a source's spikes."""

    def run(self, steps: Sequence[str], given: Given, want: Want) -> dict[str, Fired]:
        """All time-steps of encoders, layers and pools by name, sources first."""


@dataclass(frozen=True)
class Given:
    """What a part of a program runs on.

    Attributes:
        spikes: of the sources that come from before, in the engine's format.
        currents: float32 ``[B, C, H, W]`` of the encoders, or what leads to it.
        T: number of time-steps.
        states: of all its populations after the steps before; empty where there are none.
    """

    spikes: Mapping[str, Any]
    currents: Mapping[str, Tensor | Unpooled]
    T: int
    states: Mapping[str, State]


@dataclass(frozen=True)
class Want:
    """What is asked of a part of a program.

    Attributes:
        spikes: names of steps whose spikes are wanted.
        counts: names of populations whose net counts are wanted.
        states: whether the states of all populations are.
    """

    spikes: frozenset[str]
    counts: frozenset[str]
    states: bool
