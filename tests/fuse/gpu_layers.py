"""Random integer layers, and how the Triton engine's outputs are held against the reference's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from spikeconv.fuse.engine import Fired, IntegerProgram, Source
from spikeconv.fuse.gpu import TritonEngine
from spikeconv.fuse.layer import WEIGHTS, Convolution, IntegerLayer, Shortcut
from spikeconv.fuse.reference import State
from spikeconv.fuse.stepwise import ReferenceEngine

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
INTERPRETED = DEVICE == "cpu"
NOWHERE = (0, 0, 0, 0)
ALL = {"want_spikes": True, "want_count": True, "want_state": True}


@dataclass(frozen=True)
class Case:
    """A layer and trains int8 ``[T, B, C, H, W]`` of its sources."""

    layer: IntegerLayer
    sources: Mapping[str, Source]
    trains: Mapping[str, Tensor]

    @property
    def program(self) -> IntegerProgram:
        return IntegerProgram({self.layer.name: self.layer}, {}, self.sources)


def source(name: str, train: Tensor, largest: int, signed: bool) -> Source:
    """What a train is the train of."""
    C, H, W = train.shape[2:]
    return Source(name, (C, H, W), largest, signed, NOWHERE)


def integers(low: int, high: int, *shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    """Random integers from low to high, both included."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high + 1, shape, generator=generator).to(dtype)


def spikes_of(
    shape: tuple[int, ...], largest: int, signed: bool, seed: int, density: float = 0.3
) -> Tensor:
    """A train of spikes, or of sums of them."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-largest if signed else 0, largest + 1, shape, generator=generator)
    kept = torch.rand(shape, generator=generator) < density
    return torch.where(kept, values, 0).to(torch.int8)


def plain_layer(
    weight: Tensor,
    size: tuple[int, int],
    *,
    padding: tuple[int, int] = (1, 1),
    theta: int = 500,
    signed: bool = False,
    **changes: Any,
) -> IntegerLayer:
    """A layer of one convolution of a source "s"."""
    K = len(weight)
    arguments: dict[str, Any] = {
        "name": "n",
        "shape": (K, *size),
        "convolutions": (Convolution("s", weight, padding=padding),),
        "shortcuts": (),
        "shift": 0,
        "theta": torch.full((K,), theta, dtype=torch.int32),
        "v_init": torch.full((K,), theta // 2, dtype=torch.int32),
        "bias": torch.zeros(1, K, dtype=torch.int32),
        "signed": signed,
        "unit": torch.ones(K, dtype=torch.float64),
        "steps": 64,
    }
    return IntegerLayer(**{**arguments, **changes})


def compare(
    case: Case,
    engine: TritonEngine | None = None,
    state: State | None = None,
    **wanted: bool,
) -> tuple[Fired, Fired]:
    """Run a case on both engines, and hold every output against the other's."""
    engine = TritonEngine(case.program) if engine is None else engine
    options = {**ALL, **wanted}
    expected = ReferenceEngine(case.program).run_layer(case.layer, case.trains, state, **options)
    packed = {name: engine.pack(name, train.to(DEVICE)) for name, train in case.trains.items()}
    given = None if state is None else moved(state, DEVICE)
    found = engine.run_layer(case.layer, packed, given, **options)
    what = describe(case)
    if expected.spikes is None:
        assert found.spikes is None
    else:
        bits = 2 if case.layer.signed else 1
        assert_equal(unpacked(found.spikes, bits, len(case.layer.theta)), expected.spikes, what)
    assert_equal(found.count, expected.count, f"count of {what}")
    assert found.count is None or found.count.is_contiguous()
    if expected.state is None:
        assert found.state is None
    else:
        assert found.state is not None
        assert found.state.done == expected.state.done
        assert_equal(found.state.v, expected.state.v, f"v of {what}")
        assert_equal(found.state.net_count, expected.state.net_count, f"net count of {what}")
    return found, expected


def moved(state: State, device: str) -> State:
    net_count = None if state.net_count is None else state.net_count.to(device)
    return State(state.v.to(device), net_count, state.done)


def unpacked(spikes: Any, bits: int, channels: int) -> Tensor:
    """The train of fields, and zeros in what they hold besides, by arithmetic of its own."""
    data, T = spikes.data.cpu().to(torch.int32) & 255, spikes.steps
    assert data.shape[-1] % 16 == 0
    assert not data[..., channels:].any(), "channels beyond the last fired"
    mask, top = (1 << bits) - 1, 1 << (bits - 1)
    rows = []
    for t in range(len(data) * 8 // bits):
        value = (data[t * bits // 8] >> (t * bits % 8)) & mask
        rows.append(value if bits == 1 else value - 2 * (value & top))
    train = torch.stack(rows)[..., :channels].permute(0, 1, 4, 2, 3)
    assert not train[T:].any(), "steps beyond the last fired"
    return train[:T].to(torch.int8)


def assert_equal(found: Tensor | None, expected: Tensor | None, what: str) -> None:
    """Equal dtype, shape and values; None equals None."""
    if expected is None or found is None:
        assert found is expected, what
        return
    assert found.dtype == expected.dtype, what
    assert found.shape == expected.shape, what
    wrong = (found.cpu() != expected).nonzero()
    assert len(wrong) == 0, f"{what}: {len(wrong)} differ, first at {wrong[0].tolist()}"


def describe(case: Case) -> str:
    """A case in a few lines, for messages."""
    layer = case.layer
    return (
        f"{layer.shape} signed={layer.signed} shift={layer.shift} "
        + "; ".join(
            f"{one.source} {one.weight.dtype} {list(one.weight.shape)} stride {one.stride} "
            f"padding {one.padding} dilation {one.dilation} groups {one.groups}"
            for one in layer.convolutions
        )
        + "; ".join(f"{one.source} +{one.channel} /{one.stride}" for one in layer.shortcuts)
        + f"; trains {[(name, tuple(train.shape)) for name, train in case.trains.items()]}"
    )


@st.composite
def cases(draw: st.DrawFn, channels: int = 24) -> Case:
    """Layers of one to three convolutions and up to two shortcuts, whatever goes together."""
    seeds = st.integers(0, 2**31)
    B, T = draw(st.integers(1, 3)), draw(st.integers(1, 19))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    groups_of_all = draw(st.sampled_from([1, 1, 1, 2, 3]))
    K = groups_of_all * draw(st.integers(1, channels // groups_of_all))
    sources: dict[str, Source] = {}
    trains: dict[str, Tensor] = {}

    def add(C: int, rows: int, columns: int) -> str:
        largest = draw(st.sampled_from([1, 1, 1, 4, 9, 127]))
        signed = draw(st.booleans())
        name = f"s{len(sources)}"
        trains[name] = spikes_of((T, B, C, rows, columns), largest, signed, draw(seeds))
        sources[name] = source(name, trains[name], largest, signed)
        return name

    convolutions = []
    for _ in range(draw(st.integers(0, 3))):
        kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        stride = draw(st.integers(1, 2)), draw(st.integers(1, 3))
        dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
        padding = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        depthwise = draw(st.booleans()) and draw(st.booleans())
        groups = (
            K // draw(st.sampled_from([d for d in (1, 2) if K % d == 0]))
            if depthwise
            else (groups_of_all)
        )
        inner = 1 if depthwise else draw(st.integers(1, channels // groups))
        # Rows and columns from so few that windows hang over the edge to more than are read.
        rows = max(1, (height - 1) * stride[0] + draw(st.integers(-1, 2)))
        columns = max(1, (width - 1) * stride[1] + draw(st.integers(-1, 2)))
        kind = WEIGHTS[draw(st.sampled_from(list(WEIGHTS)))]
        weight = integers(
            -kind.largest, kind.largest, K, inner, *kernel,
            seed=draw(seeds), dtype=kind.dtype,
        )  # fmt: skip
        name = add(groups * inner, rows, columns)
        convolutions.append(Convolution(name, weight, stride, padding, dilation, groups))
    shortcuts = []
    for _ in range(draw(st.integers(0 if convolutions else 1, 2))):
        C = draw(st.integers(1, K))
        channel = draw(st.integers(0, K - C))
        stride = draw(st.integers(1, 2)), draw(st.integers(1, 2))
        rows = (height - 1) * stride[0] + 1 + draw(st.integers(0, 1))
        columns = (width - 1) * stride[1] + 1 + draw(st.integers(0, 1))
        coefficient = integers(-(2**16), 2**16, C, seed=draw(seeds), dtype=torch.int32)
        shortcuts.append(Shortcut(add(C, rows, columns), coefficient, stride, channel))
    scale = draw(st.sampled_from([50, 3000, 100_000]))
    per_neuron = (K, height, width)
    v_shape = per_neuron if draw(st.booleans()) else (K,)
    bias_shape = per_neuron if draw(st.booleans()) else (K,)
    layer = IntegerLayer(
        "n",
        per_neuron,
        tuple(convolutions),
        tuple(shortcuts),
        draw(st.integers(0, 3)),
        integers(1, scale, K, seed=draw(seeds), dtype=torch.int32),
        integers(-scale, scale, *v_shape, seed=draw(seeds), dtype=torch.int32),
        integers(
            -scale // 2, scale // 2, draw(st.sampled_from([1, 3])), *bias_shape,
            seed=draw(seeds), dtype=torch.int32,
        ),
        draw(st.booleans()),
        torch.ones(K, dtype=torch.float64),
        64,
    )  # fmt: skip
    return Case(layer, sources, trains)
