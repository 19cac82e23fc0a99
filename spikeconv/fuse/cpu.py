"""The integer program on the CPU, by the compiled kernels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from spikeconv.fuse.cpu_chain import ENCODER, LAYER, POOL, Chain, ChainStep
from spikeconv.fuse.encoder import Encoder, current_of
from spikeconv.fuse.engine import Fired, Given, IntegerProgram, Source, Want
from spikeconv.fuse.layer import IntegerLayer, Pool
from spikeconv.fuse.planes import Plane, Planes
from spikeconv.ops.integer import new_program


class CpuEngine:
    """Computes an integer program with the kernels of csrc/cpu, bit for bit as the definition.

    Spikes are `Plane`s. Weights are packed once, and the memory of planes that nobody holds any
    more is used again. `chain` runs many layers in one call, which is faster than one at a time.

    Args:
        program: what to compute.
        encoders: populations in floating point whose static currents it takes.
        isa: the kernels' instruction set by name; None for the one that the environment variable
            SPIKECONV_ISA asks for, or else the best that the processor has.
        sums: ``"auto"``, ``"products"``, ``"events"`` or ``"lookups"``, as `new_program` has it.

    Raises:
        RuntimeError: the extension is missing or the processor lacks the instruction set, or the
            program is inconsistent: shapes that do not fit, a halo that is too small.
    """

    packs = True
    most_steps: int | None = None
    takes_unpooled = False

    def __init__(
        self,
        program: IntegerProgram,
        encoders: Iterable[Encoder] = (),
        isa: str | None = None,
        sums: str = "auto",
    ) -> None:
        self.program = program
        self._native = new_program(isa, sums)
        self._planes = Planes(self._native)
        self._sources: dict[str, int] = {}
        self._steps: dict[str, ChainStep] = {}
        self._chains: dict[tuple[tuple[str, ...], ...], Chain] = {}
        for name, source in _all_sources(program).items():
            self._sources[name] = self._native.add_source(
                list(source.shape),
                source.largest,
                source.signed,
                list(source.halo),
                source.static,
            )
        for name, layer in program.layers.items():
            self._steps[name] = ChainStep(name, LAYER, self._add_layer(layer), layer.signed)
        for name, pool in program.pools.items():
            self._steps[name] = ChainStep(name, POOL, self._add_pool(pool), False)
        for encoder in encoders:
            number = self._native.add_encoder(
                self._sources[encoder.name],
                encoder.v_threshold.unsqueeze(0),
                encoder.v_init.unsqueeze(0),
                encoder.bias,
            )
            signed = program.sources[encoder.name].signed
            self._steps[encoder.name] = ChainStep(encoder.name, ENCODER, number, signed)

    @property
    def isa(self) -> str:
        """The instruction set that the kernels use."""
        name: str = self._native.isa()
        return name

    @property
    def looked_up(self) -> tuple[str, ...]:
        """Layers whose sums are looked up, where a run has no states before or after it."""
        return tuple(
            name
            for name, step in self._steps.items()
            if step.kind == LAYER and self._native.looks_up(step.number)
        )

    def pack(self, name: str, train: Tensor) -> Plane:
        """Spikes of a source as a plane, from a train ``[T, B, C, H, W]`` of any dtype and strides.

        Of floating-point trains every positive value is a spike, and every negative one a negative
        spike.
        """
        if train.dtype not in (torch.float32, torch.uint8, torch.int8):
            train = train.to(torch.float32 if train.is_floating_point() else torch.int8)
        source = self._sources[name]
        plane = self._planes.take(source, train.shape[1], train.shape[0])
        static = name in self.program.sources and self.program.sources[name].static
        self._native.pack(source, train[:1] if static else train, plane.memory)
        return plane

    def unpack(self, name: str, spikes: Plane) -> Tensor:
        """The train, int8 ``[T, B, C, H, W]``, of a source's plane."""
        train: Tensor = self._native.unpack(
            self._sources[name], spikes.memory, spikes.images, spikes.steps
        )
        return train

    def chain(
        self, steps: Sequence[str], spikes: Sequence[str] = (), counts: Sequence[str] = ()
    ) -> Chain:
        """Layers, pools and encoders by name, in an order in which sources come first.

        Args:
            steps: their names.
            spikes: those whose spikes are wanted.
            counts: those whose spike counts are wanted, not of pools.

        Raises:
            ValueError: something is wanted that is no step.
            KeyError: a name that the program does not have.
        """
        key = (tuple(steps), tuple(spikes), tuple(counts))
        if key not in self._chains:
            found = [self._steps[name] for name in steps]
            self._chains[key] = Chain(
                self._native, self._planes, self._sources, found, spikes, counts
            )
        return self._chains[key]

    def run(self, steps: Sequence[str], given: Given, want: Want) -> dict[str, Fired]:
        """All time-steps of encoders, layers and pools by name, image by image."""
        # In the order of the steps: a set's own would make a chain for each.
        spikes = tuple(name for name in steps if name in want.spikes)
        counts = tuple(name for name in steps if name in want.counts)
        return self.chain(steps, spikes, counts).run(
            given.spikes,
            {name: current_of(given.currents[name]) for name in given.currents},
            given.T,
            given.states or None,
            want_states=want.states,
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
