"""Consecutive steps of an integer program on the CPU, in one call and image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spikeconv.fuse.engine import Fired
from spikeconv.fuse.layer import channels_first, channels_last
from spikeconv.fuse.planes import Plane, Planes
from spikeconv.fuse.reference import State

LAYER, POOL, ENCODER = range(3)
"""Kinds of steps, as csrc/cpu/int_program.h numbers them."""


@dataclass(frozen=True)
class ChainStep:
    """One step of a chain: a layer, pool or encoder by its name and its number in the program."""

    name: str
    kind: int
    number: int
    signed: bool


class Chain:
    """Layers, pools and encoders that run one after the other on each image.

    What passes between them stays in a core's cache and is not returned; memory is needed for as
    many images as there are threads, however many there are.

    Attributes:
        given: names of the sources whose spikes `run` needs.
        currents: names of the encoders whose currents `run` needs.
    """

    def __init__(
        self,
        native: Any,
        planes: Planes,
        sources: Mapping[str, int],
        steps: Sequence[ChainStep],
        spikes: Sequence[str],
        counts: Sequence[str],
    ) -> None:
        names = [step.name for step in steps]
        for wanted in (*spikes, *counts):
            if wanted not in names:
                raise ValueError(f"chain: {wanted!r} is wanted but is no step of {names}")
        self._native, self._planes, self._sources = native, planes, sources
        self._steps = steps
        self._spikes = tuple(spikes)
        self._counted = [i for i, name in enumerate(names) if name in counts]
        self._number = native.add_chain(
            [step.kind for step in steps],
            [step.number for step in steps],
            [sources[name] for name in spikes],
            self._counted,
        )
        by_number = {number: name for name, number in sources.items()}
        self.given = tuple(by_number[number] for number in native.given(self._number))
        self.currents = tuple(step.name for step in steps if step.kind == ENCODER)

    def memory(self, T: int) -> int:
        """Bytes that each thread needs for what passes between the steps, for T time-steps."""
        return int(self._native.memory(self._number, T))

    def run(
        self,
        spikes: Mapping[str, Plane],
        currents: Mapping[str, Tensor] | None = None,
        T: int | None = None,
        states: Mapping[str, State] | None = None,
        *,
        want_states: bool = False,
    ) -> dict[str, Fired]:
        """All steps of time of every image.

        Args:
            spikes: of the sources in `given`.
            currents: float32 ``[B, C, H, W]``, of the encoders in `currents`.
            T: number of time-steps, where no spikes are given.
            states: of all layers and encoders after the steps before, or None.
            want_states: whether to return them.

        Returns:
            by name of the step: the spikes, counts and states that are wanted. The potentials v of
            an encoder's state are float32.

        Raises:
            KeyError: spikes, a current or a state is missing.
            ValueError: T is missing.
            RuntimeError: shapes or dtypes are not the program's.
        """
        given = [spikes[name] for name in self.given]
        x = [currents[name] for name in self.currents] if currents is not None else []
        if given:
            images, T = given[0].images, given[0].steps
        elif T is not None:
            images = x[0].shape[0]
        else:
            raise ValueError("chain: T must be the number of time-steps, got None and no spikes")
        out = [self._planes.take(self._sources[name], images, T) for name in self._spikes]
        neurons = [step for step in self._steps if step.kind != POOL]
        before = [states[step.name] for step in neurons] if states is not None else []
        done = before[0].done if before else 0
        counts, v, net = self._native.run_chain(
            self._number,
            [plane.memory for plane in (*given, *out)],
            x,
            images,
            T,
            done,
            [channels_last(state.v) for state in before],
            [channels_last(s.net_count) for s in before if s.net_count is not None],
            want_states,
        )
        planes = dict(zip(self._spikes, out, strict=True))
        counted = {
            self._steps[i].name: channels_first(count)
            for i, count in zip(self._counted, counts, strict=True)
        }
        after: dict[str, State] = {}
        if want_states:
            nets = iter(net)
            for step, potential in zip(neurons, v, strict=True):
                net_count = channels_first(next(nets)) if step.signed else None
                after[step.name] = State(channels_first(potential), net_count, done + T)
        return {
            name: Fired(planes.get(name), counted.get(name), after.get(name))
            for name in (step.name for step in self._steps)
        }
