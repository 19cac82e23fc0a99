"""Random integer layers with everything that they may have, and spikes for their sources."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from spikeconv.fuse.engine import IntegerProgram, Source
from spikeconv.fuse.layer import WEIGHTS, Convolution, IntegerLayer, Pool, Shortcut

OUT = "out"


@dataclass(frozen=True)
class Window:
    """A convolution that a layer may have, and what reads more than it needs."""

    inputs: int
    groups: int = 1
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    after: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    precision: str = "int8"
    signed: bool = False
    largest: int = 1
    spare: int = 0


@dataclass(frozen=True)
class Jump:
    """A shortcut that a layer may have."""

    channels: int
    channel: int = 0
    stride: tuple[int, int] = (1, 1)
    signed: bool = False
    largest: int = 1
    spare: int = 0


@dataclass(frozen=True)
class Recipe:
    """What a random layer is drawn from."""

    shape: tuple[int, int, int]
    windows: tuple[Window, ...]
    jumps: tuple[Jump, ...] = ()
    T: int = 4
    B: int = 1
    shift: int = 0
    signed: bool = False
    v_per_neuron: bool = False
    bias_per_neuron: bool = False
    bias_rows: int = 1
    seed: int = 0


@dataclass
class Case:
    """A layer, its program, and trains int8 ``[T, B, C, H, W]`` of its sources."""

    layer: IntegerLayer
    program: IntegerProgram
    trains: dict[str, Tensor] = field(default_factory=dict)


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def windows(draw: st.DrawFn, outputs: int, size: tuple[int, int], *, most: int) -> Window:
    groups = draw(st.sampled_from([1, 1, 1, outputs, *_divisors(outputs)]))
    inputs = groups * draw(st.integers(1, max(1, most // groups)))
    kernel, stride, dilation = draw(_pairs(1, 5)), draw(_pairs(1, 3)), draw(_pairs(1, 2))
    extent = tuple((k - 1) * d for k, d in zip(kernel, dilation, strict=True))
    # Something of the source is left of what is read, once padding is taken off at both ends.
    room = [(n - 1) * s + e for n, s, e in zip(size, stride, extent, strict=True)]
    padding = tuple(draw(st.integers(0, min(3, r))) for r in room)
    after = tuple(draw(st.integers(0, min(3, r - p))) for r, p in zip(room, padding, strict=True))
    return Window(
        inputs, groups, kernel, stride, padding, after, dilation,
        precision=draw(st.sampled_from(list(WEIGHTS))), signed=draw(st.booleans()),
        largest=draw(st.sampled_from([1, 1, 4, 127])), spare=draw(st.integers(0, 2)),
    )  # fmt: skip


@st.composite
def jumps(draw: st.DrawFn, outputs: int) -> Jump:
    channel = draw(st.integers(0, outputs - 1))
    return Jump(
        draw(st.integers(1, outputs - channel)), channel, draw(_pairs(1, 3)),
        draw(st.booleans()), draw(st.sampled_from([1, 1, 4, 127])), draw(st.integers(0, 2)),
    )  # fmt: skip


@st.composite
def recipes(draw: st.DrawFn, *, most: int = 70) -> Recipe:
    """Layers of up to `most` channels in and out."""
    shape = (draw(st.integers(1, most)), draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    return Recipe(
        shape,
        tuple(draw(st.lists(windows(shape[0], shape[1:], most=most), max_size=3))),
        tuple(draw(st.lists(jumps(shape[0]), max_size=3))),
        T=draw(st.integers(1, 40)),
        B=draw(st.integers(0, 3)),
        shift=draw(st.integers(0, 6)),
        signed=draw(st.booleans()),
        v_per_neuron=draw(st.booleans()),
        bias_per_neuron=draw(st.booleans()),
        bias_rows=draw(st.integers(1, 40)),
        seed=draw(st.integers(0, 2**20)),
    )


def _divisors(number: int) -> list[int]:
    return [d for d in range(2, number + 1) if number % d == 0]


def make(recipe: Recipe) -> Case:
    """The layer that a recipe describes; the same every time."""
    random = torch.Generator().manual_seed(recipe.seed)
    channels, height, width = recipe.shape
    sources: dict[str, Source] = {}
    trains: dict[str, Tensor] = {}
    convolutions, shortcuts = [], []
    for i, window in enumerate(recipe.windows):
        name = f"convolved{i}"
        lengths, halo = [], []
        for d, n in enumerate((height, width)):
            needed = (n - 1) * window.stride[d] + (window.kernel[d] - 1) * window.dilation[d] + 1
            before, after = window.padding[d], window.after[d]
            lengths.append(needed - before - after + window.spare)
            halo.append((before + window.spare, max(0, after - window.spare) + window.spare))
        sources[name] = Source(
            name,
            (window.inputs, lengths[0], lengths[1]),
            window.largest,
            window.signed,
            (halo[0][0], halo[1][0], halo[0][1], halo[1][1]),
        )
        kind = WEIGHTS[window.precision]
        weight = torch.randint(
            -kind.largest, kind.largest + 1,
            (channels, window.inputs // window.groups, *window.kernel),
            generator=random, dtype=kind.dtype,
        )  # fmt: skip
        convolutions.append(
            Convolution(name, weight, window.stride, window.padding, window.dilation, window.groups)
        )
    for i, jump in enumerate(recipe.jumps):
        name = f"jumped{i}"
        lengths = [
            (n - 1) * s + 1 + jump.spare for n, s in zip((height, width), jump.stride, strict=True)
        ]
        halo = (jump.spare, 0, 0, jump.spare)
        sources[name] = Source(
            name, (jump.channels, lengths[0], lengths[1]), jump.largest, jump.signed, halo
        )
        coefficient = torch.randint(
            -5000, 5000, (jump.channels,), generator=random, dtype=torch.int32
        )
        shortcuts.append(Shortcut(name, coefficient, jump.stride, jump.channel))
    if not sources:  # a layer reads something
        sources["read"] = Source("read", (channels, height, width), 1, False, (0, 0, 0, 0))
        zero = torch.zeros(channels, dtype=torch.int32)
        shortcuts.append(Shortcut("read", zero))
    for name, source in sources.items():
        trains[name] = spikes(source, recipe.T, recipe.B, random)
    scale = 1000 << recipe.shift

    def table(low: int, high: int, lead: tuple[int, ...], per_neuron: bool) -> Tensor:
        shape = (*lead, channels, height, width) if per_neuron else (*lead, channels)
        return torch.randint(low, high, shape, generator=random, dtype=torch.int32)

    layer = IntegerLayer(
        OUT,
        recipe.shape,
        tuple(convolutions),
        tuple(shortcuts),
        recipe.shift,
        table(1, 4 * scale, (), False),
        table(-scale, 2 * scale, (), recipe.v_per_neuron),
        table(-scale, scale, (recipe.bias_rows,), recipe.bias_per_neuron),
        recipe.signed,
        torch.ones(channels, dtype=torch.float64),
        recipe.T,
    )
    sources[OUT] = Source(OUT, recipe.shape, 1, recipe.signed, (1, 2, 0, 1))
    return Case(layer, IntegerProgram({OUT: layer}, {}, sources), trains)


def spikes(source: Source, T: int, B: int, random: torch.Generator) -> Tensor:
    """Random values of a source, its largest among them."""
    low = -source.largest if source.signed else 0
    return torch.randint(
        low, source.largest + 1, (T, B, *source.shape), generator=random, dtype=torch.int8
    )


@st.composite
def pooled(draw: st.DrawFn) -> tuple[Pool, IntegerProgram, Tensor]:
    """A pool, its program, and a train of its source."""
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    kernel = draw(_pairs(1, 4))
    stride = draw(_pairs(1, 3))
    room = [(n - 1) * s + k - 1 for n, s, k in zip(shape[1:], stride, kernel, strict=True)]
    padding = (draw(st.integers(0, min(2, room[0]))), draw(st.integers(0, min(2, room[1]))))
    lengths = [r + 1 - p for r, p in zip(room, padding, strict=True)]
    signed = draw(st.booleans())
    read = Source("read", (shape[0], *lengths), 1, signed, (padding[0], padding[1], 0, 0))
    sums = Source("sums", shape, kernel[0] * kernel[1], signed, (1, 0, 2, 1))
    pool = Pool("sums", "read", kernel, stride, padding, shape)
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    train = spikes(read, draw(st.integers(1, 20)), draw(st.integers(0, 3)), random)
    return pool, IntegerProgram({}, {"sums": pool}, {"read": read, "sums": sums}), train


def with_steps(case: Case, first: int, last: int) -> dict[str, Tensor]:
    """The trains of some of a case's steps."""
    return {name: train[first:last] for name, train in case.trains.items()}


def changed(case: Case, **fields: object) -> Case:
    """A case whose layer has other fields."""
    layer = replace(case.layer, **fields)  # type: ignore[arg-type]
    return Case(layer, replace(case.program, layers={OUT: layer}), case.trains)
