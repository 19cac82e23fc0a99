"""The integer program on the CPU, by the compiled kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from spikeconv.fuse.engine import Fired, IntegerProgram, Source
from spikeconv.fuse.layer import IntegerLayer, Pool
from spikeconv.fuse.planes import Plane, Planes
from spikeconv.fuse.reference import State
from spikeconv.ops.integer import new_program


class CpuEngine:
    """Computes an integer program with the kernels of csrc/cpu, bit for bit as the definition.

    Spikes are `Plane`s. Weights are packed once, and the memory of planes that nobody holds any
    more is used again.

    Args:
        program: what to compute.
        isa: the kernels' instruction set by name; None for the one that the environment variable
            SPIKECONV_ISA asks for, or else the best that the processor has.

    Raises:
        RuntimeError: the extension is missing or the processor lacks the instruction set, or the
            program is inconsistent: shapes that do not fit, a halo that is too small.
    """

    def __init__(self, program: IntegerProgram, isa: str | None = None) -> None:
        self.program = program
        self._native = new_program(isa)
        self._sources: dict[str, int] = {}
        for name, source in _all_sources(program).items():
            self._sources[name] = self._native.add_source(
                list(source.shape), source.largest, source.signed, list(source.halo)
            )
        self._layers = {name: self._add_layer(layer) for name, layer in program.layers.items()}
        self._pools = {name: self._add_pool(pool) for name, pool in program.pools.items()}
        self._planes = Planes(self._native)

    @property
    def isa(self) -> str:
        """The instruction set that the kernels use."""
        name: str = self._native.isa()
        return name

    def pack(self, name: str, train: Tensor) -> Plane:
        """Spikes of a source as a plane, from a train ``[T, B, C, H, W]`` of any dtype and strides.

        Of a population every positive value is a spike, and every negative one a negative spike.
        """
        if train.dtype not in (torch.float32, torch.uint8, torch.int8):
            kind = torch.float32 if train.is_floating_point() else torch.int8
            train = train.to(kind)
        source = self._sources[name]
        plane = self._planes.take(source, train.shape[1], train.shape[0])
        self._native.pack(source, train, plane.memory)
        return plane

    def unpack(self, name: str, spikes: Plane) -> Tensor:
        """The train, int8 ``[T, B, C, H, W]``, of a source's plane."""
        train: Tensor = self._native.unpack(
            self._sources[name], spikes.memory, spikes.images, spikes.steps
        )
        return train

    def run_pool(self, pool: Pool, spikes: Plane) -> Plane:
        """A pool's sums of its source's spikes."""
        sums = self._planes.take(self._sources[pool.name], spikes.images, spikes.steps)
        self._native.run_pool(
            self._pools[pool.name], spikes.memory, sums.memory, spikes.images, spikes.steps
        )
        return sums

    def run_layer(
        self,
        layer: IntegerLayer,
        spikes: Mapping[str, Plane],
        state: State | None,
        *,
        want_spikes: bool,
        want_count: bool,
        want_state: bool,
    ) -> Fired:
        """All steps of a layer on the spikes of its sources, from `state` on, or from v_init."""
        read = [spikes[name] for name in layer.sources()]
        images, steps = read[0].images, read[0].steps
        done = 0 if state is None else state.done
        out = self._planes.take(self._sources[layer.name], images, steps) if want_spikes else None
        count, v, net_count = self._native.run_layer(
            self._layers[layer.name],
            [plane.memory for plane in read],
            None if out is None else out.memory,
            images,
            steps,
            done,
            None if state is None else _channels_last(state.v),
            None if state is None or not layer.signed else _channels_last(state.net_count),
            want_count,
            want_state,
        )
        return Fired(
            out,
            _channels_first(count),
            State(_channels_first(v), _channels_first(net_count), done + steps)
            if want_state
            else None,
        )

    def _add_layer(self, layer: IntegerLayer) -> int:
        windows: list[int] = []
        for term in layer.convolutions:
            windows += [self._sources[term.source], *term.stride, *term.padding, *term.dilation]
            windows.append(term.groups)
        places: list[int] = []
        for shortcut in layer.shortcuts:
            places += [self._sources[shortcut.source], *shortcut.stride, shortcut.channel]
        number: int = self._native.add_layer(
            list(layer.shape),
            self._sources[layer.name],
            layer.shift,
            layer.theta,
            layer.v_init,
            layer.bias,
            layer.signed,
            [term.weight for term in layer.convolutions],
            windows,
            [shortcut.coefficient for shortcut in layer.shortcuts],
            places,
        )
        return number

    def _add_pool(self, pool: Pool) -> int:
        window = [*pool.kernel, *pool.stride, *pool.padding]
        number: int = self._native.add_pool(
            self._sources[pool.source], self._sources[pool.name], window
        )
        return number


def _all_sources(program: IntegerProgram) -> dict[str, Source]:
    """What integer layers read, and every population besides, whose spikes others may read."""
    unread = {
        name: Source(name, layer.shape, 1, layer.signed, (0, 0, 0, 0))
        for name, layer in program.layers.items()
        if name not in program.sources
    }
    return {**program.sources, **unread}


def _channels_last(table: Any) -> Any:
    """int32 ``[B, K, H, W]`` as dense ``[B, H, W, K]``."""
    return table.permute(0, 2, 3, 1).contiguous()


def _channels_first(table: Any) -> Any:
    """The view ``[B, K, H, W]`` of ``[B, H, W, K]``."""
    return None if table is None else table.permute(0, 3, 1, 2)
