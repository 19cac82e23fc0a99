"""Where populations start anew after SRP or COS: integer layers by the formulas of all others."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from spikeconv.calibrate.cos import Look
from spikeconv.calibrate.srp import silenced
from spikeconv.fuse.encoder import Encoder
from spikeconv.fuse.layer import IntegerLayer
from spikeconv.fuse.reference import State

Population: TypeAlias = IntegerLayer | Encoder

_NEVER = -(2**30)
"""A membrane that starts here neither reaches its threshold nor leaves int32: with `rooms` of 2
`spikeconv.fuse.quantise` keeps theta and all that can arrive in a run below 2^30."""


def silent_after(population: Population, v: Tensor) -> Tensor:
    """SRP's mask, bool ``[B, K, H, W]``, of potentials v of that shape after its steps."""
    if isinstance(population, Encoder):
        return silenced(v, population.v_threshold)
    return silenced(v.double(), _each_channel(population.theta).double())


def look_at(population: Population, *, signed: bool) -> Look:
    """COS's look at a population, on whose steps it is to be shown."""
    if isinstance(population, Encoder):
        return Look(population.v_threshold, signed=signed)
    return Look(_each_channel(population.theta), signed=signed)


def moved(population: Population, look: Look) -> Tensor:
    """COS's initial potentials ``[B, K, H, W]``, from a look at steps that began at v_init.

    Those of an integer layer are rounded away from v_init, so that its margins are kept.
    """
    if isinstance(population, Encoder):
        return look.potential(population.v_init)
    start = _each_channel(population.v_init)
    v0 = look.potential(start)
    return torch.where(v0 < start, v0.floor(), v0.ceil()).to(torch.int32)


def initial_state(population: Population, shape: tuple[int, ...], signed: bool) -> State:
    """The state before the first step, ``[B, K, H, W]`` of that shape."""
    v_init = population.v_init
    if isinstance(population, IntegerLayer):
        v_init = _each_channel(v_init)
    net_count = torch.zeros(shape, dtype=torch.int32, device=v_init.device) if signed else None
    return State(v_init.expand(shape), net_count, 0)


def never(population: Population, v: Tensor, silent: Tensor) -> Tensor:
    """Potentials from which those that are silent do not fire in this run, the others as in v."""
    layer = isinstance(population, IntegerLayer)
    return torch.where(silent, _NEVER if layer else torch.finfo(v.dtype).min, v)


def _each_channel(value: Tensor) -> Tensor:
    """``[K]`` or ``[K, H, W]`` as it broadcasts to images."""
    return value.view(-1, 1, 1) if value.dim() == 1 else value
