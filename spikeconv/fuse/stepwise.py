"""Engines that run a program one step at a time, and the first of them, `ReferenceEngine`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from spikeconv.fuse.encoder import Encoder, Unpooled, current_of
from spikeconv.fuse.engine import Fired, Given, IntegerProgram, Want
from spikeconv.fuse.layer import IntegerLayer, Pool
from spikeconv.fuse.reference import State, run_layer, run_pool
from spikeconv.ops import if_multistep
from spikeconv.ops.call import WORD_BITS


class StepwiseEngine(ABC):
    """An engine of which layers, pools and the two directions of its format are written.

    Args:
        program: what to compute.
        encoders: populations in floating point whose static currents it takes.
    """

    packs = True
    most_steps: int | None = WORD_BITS
    takes_unpooled = True

    def __init__(self, program: IntegerProgram, encoders: Iterable[Encoder] = ()) -> None:
        self.program = program
        self._encoders = {encoder.name: encoder for encoder in encoders}

    @abstractmethod
    def pack(self, name: str, train: Tensor) -> Any:
        """As `Engine.pack`."""

    def pack_words(self, name: str, words: Tensor, T: int) -> Any:
        """The same, from int32 ``[B, C, H, W]`` with step t of T in bit t, of unsigned neurons."""
        steps = torch.arange(T, device=words.device, dtype=torch.int32).view(-1, 1, 1, 1, 1)
        return self.pack(name, (words >> steps) & 1)

    def encode(self, encoder: Encoder, given: Unpooled, T: int) -> Any:
        """Spikes of the first T steps, at most 32, of unsigned neurons in floating point."""
        words, _ = if_multistep(
            given.current,
            encoder.v_threshold,
            encoder.v_init,
            encoder.bias_from(0, T),
            T=T,
            emit="words",
        )
        return self.pack_words(encoder.name, words, T)

    @abstractmethod
    def unpack(self, name: str, spikes: Any) -> Tensor:
        """As `Engine.unpack`."""

    @abstractmethod
    def run_pool(self, pool: Pool, spikes: Any) -> Any:
        """A pool's sums of its source's spikes."""

    @abstractmethod
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

    def run(self, steps: Sequence[str], given: Given, want: Want) -> dict[str, Fired]:
        """As `Engine.run`: what is read later in the same part is kept so long."""
        spikes = dict(given.spikes)
        read = {step: self.program.sources_of(step) for step in steps}
        last = {source: step for step in steps for source in read[step]}
        fired: dict[str, Fired] = {}
        for step in steps:
            found = self._run_one(step, spikes, given, want, read=step in last)
            if step in last:
                spikes[step] = found.spikes
            fired[step] = found if step in want.spikes else Fired(None, found.count, found.state)
            for source in read[step]:
                if last[source] == step:
                    del spikes[source]
        return fired

    def _run_one(
        self, step: str, spikes: Mapping[str, Any], given: Given, want: Want, *, read: bool
    ) -> Fired:
        want_spikes = read or step in want.spikes
        if step in self.program.pools:
            pool = self.program.pools[step]
            return Fired(self.run_pool(pool, spikes[pool.source]), None, None)
        state = given.states.get(step)
        if step in self.program.layers:
            return self.run_layer(
                self.program.layers[step],
                spikes,
                state,
                want_spikes=want_spikes,
                want_count=step in want.counts,
                want_state=want.states,
            )
        return self._encode(self._encoders[step], given, state, want, want_spikes=want_spikes)

    def _encode(
        self,
        encoder: Encoder,
        given: Given,
        state: State | None,
        want: Want,
        *,
        want_spikes: bool,
    ) -> Fired:
        """All steps of a population in floating point."""
        done = 0 if state is None else state.done
        signed = self.program.sources[encoder.name].signed
        counted = encoder.name in want.counts
        in_words = not (signed or counted) and given.T <= WORD_BITS
        current = given.currents[encoder.name]
        whole = state is None and want_spikes and not want.states
        if isinstance(current, Unpooled) and in_words and whole:
            return Fired(self.encode(encoder, current, given.T), None, None)
        emitted, v = if_multistep(
            current_of(current),
            encoder.v_threshold,
            encoder.v_init if state is None else state.v,
            encoder.bias_from(done, given.T),
            T=given.T,
            signed=signed,
            emit="words" if in_words else "uint8",
            return_v="last" if want.states else None,
            count_init=None if state is None else state.net_count,
        )
        keeps_net = signed and want.states
        count = emitted.sum(0, dtype=torch.int32) if counted or keeps_net else None
        after = None
        if v is not None:
            net = count if keeps_net else None
            if net is not None and state is not None and state.net_count is not None:
                net = net + state.net_count
            after = State(v, net, done + given.T)
        spikes = None
        if want_spikes and in_words:
            spikes = self.pack_words(encoder.name, emitted, given.T)
        elif want_spikes:
            spikes = self.pack(encoder.name, emitted)
        return Fired(spikes, count if counted else None, after)


class ReferenceEngine(StepwiseEngine):
    """The definition, on any device: spikes are int8 trains ``[T, B, C, H, W]``."""

    packs = False

    def __init__(self, program: IntegerProgram, encoders: Iterable[Encoder] = ()) -> None:
        super().__init__(program, encoders)
        self._layers: dict[tuple[str, torch.device], IntegerLayer] = {}

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
        device = spikes[next(layer.sources())].device
        key = layer.name, device
        if key not in self._layers:
            self._layers[key] = layer.to(device)
        train, after = run_layer(self._layers[key], spikes, state)
        return Fired(
            train if want_spikes else None,
            train.sum(0, dtype=torch.int32) if want_count else None,
            after if want_state else None,
        )
