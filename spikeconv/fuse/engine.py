"""What computes an integer program: engines, each with a format of its own for spikes.

Every engine gives the bits of `ReferenceEngine`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from spikeconv.fuse.layer import IntegerLayer, Pool
from spikeconv.fuse.reference import State, run_layer, run_pool


@dataclass(frozen=True)
class Source:
    """A population, or a pool over one, whose spikes integer layers read.

    Attributes:
        name: of the population or pool.
        shape: ``(C, H, W)``.
        largest: the largest sum of spikes of one step: 1 of a population.
        signed: whether the sums may be negative.
        halo: zeros that its readers see beyond the image: (above, left, below, right).
    """

    name: str
    shape: tuple[int, int, int]
    largest: int
    signed: bool
    halo: tuple[int, int, int, int]


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


@dataclass(frozen=True)
class Fired:
    """What a layer gave; None for what was not asked for.

    Attributes:
        spikes: in the engine's format, for its layers to read.
        count: int32 ``[B, K, H, W]``, the net count of these steps.
        state: for the steps that follow.
    """

    spikes: Any
    count: Tensor | None
    state: State | None


class Engine(Protocol):
    """Computes layers of one program, with its spikes in between in a format of its own."""

    def pack(self, name: str, train: Tensor) -> Any:
        """Spikes of a source in the engine's format, from a train ``[T, B, C, H, W]`` of any dtype
        that holds -1, 0 and 1 exactly."""

    def unpack(self, name: str, spikes: Any) -> Tensor:
        """The train, int8 ``[T, B, C, H, W]``, of a source's spikes."""

    def run_pool(self, pool: Pool, spikes: Any) -> Any:
        """A pool's sums of its source's spikes."""

    def run_layer(
        self,
        layer: IntegerLayer,
        spikes: Mapping[str, Any],
        state: State | None,
        *,
        want_spikes: bool,
        want_count: bool,
        want_state: bool,
    ) -> Fired:
        """All steps of a layer on the spikes of its sources, from `state` on, or from v_init."""


class ReferenceEngine:
    """The definition, on any device: spikes are int8 trains ``[T, B, C, H, W]``."""

    def __init__(self, program: IntegerProgram) -> None:
        self.program = program

    def pack(self, name: str, train: Tensor) -> Tensor:
        return train.to(torch.int8)

    def unpack(self, name: str, spikes: Tensor) -> Tensor:
        return spikes

    def run_pool(self, pool: Pool, spikes: Tensor) -> Tensor:
        return run_pool(pool, spikes)

    def run_layer(
        self,
        layer: IntegerLayer,
        spikes: Mapping[str, Tensor],
        state: State | None,
        *,
        want_spikes: bool,
        want_count: bool,
        want_state: bool,
    ) -> Fired:
        train, after = run_layer(layer, spikes, state)
        return Fired(
            train if want_spikes else None,
            train.sum(0, dtype=torch.int32) if want_count else None,
            after if want_state else None,
        )
