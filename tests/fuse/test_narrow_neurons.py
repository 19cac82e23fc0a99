"""Neurons with sums of 16 bits and shortcuts of 24 take shorter ways, with the same bits."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.engine import Given, IntegerProgram, Source, Want
from spikeconv.fuse.layer import Convolution, IntegerLayer, Shortcut
from spikeconv.fuse.reference import State
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops.native import instruction_sets
from tests.fuse.integer_cases import OUT, Case, Jump, Recipe, Window, changed, make

ISAS = [*instruction_sets(), "amx_emulated"]
CHANNELS = 17  # a whole block, and one that has a single channel
SUMS = {
    32767: (127, 258, 1),
    32768: (127, 258, 2),
    -32768: (-128, 255, -128),
    -32769: (-128, 256, -1),
}


def one_step(total: int, shift: int, coefficient: int, largest: int, signed: bool) -> Case:
    """Neurons that receive 2^shift * total and, from a full pool, coefficient * largest."""
    weight, times, last = SUMS[total]
    row = torch.tensor([weight] * times + [last], dtype=torch.int8)
    assert int(row.long().sum()) == total
    none = (0, 0, 0, 0)
    layer = IntegerLayer(
        OUT,
        (CHANNELS, 1, 1),
        (Convolution("x", row.expand(CHANNELS, -1)[..., None, None].contiguous()),),
        (Shortcut("y", torch.full((CHANNELS,), coefficient, dtype=torch.int32)),),
        shift,
        torch.full((CHANNELS,), 2**30, dtype=torch.int32),
        torch.full((CHANNELS,), -(10**6) if total > 0 else 10**6, dtype=torch.int32),
        torch.zeros(1, CHANNELS, dtype=torch.int32),
        False,
        torch.ones(CHANNELS, dtype=torch.float64),
        1,
    )
    sources = {
        "x": Source("x", (len(row), 1, 1), 1, False, none),
        "y": Source("y", (CHANNELS, 1, 1), largest, signed, none),
        OUT: Source(OUT, (CHANNELS, 1, 1), 1, False, none),
    }
    trains = {
        "x": torch.ones(1, 1, len(row), 1, 1, dtype=torch.int8),
        "y": torch.full((1, 1, CHANNELS, 1, 1), largest, dtype=torch.int8),
    }
    return Case(layer, IntegerProgram({OUT: layer}, {}, sources), trains)


@pytest.mark.parametrize("total", SUMS)
@pytest.mark.parametrize("coefficient", [2**23 - 1, 2**23, -(2**23), -(2**23) - 1])
def test_limits(total: int, coefficient: int) -> None:
    """The last values that are within the limits, and the first ones beyond."""
    # The bytes of a signed pool of 64 places are up to 128.
    for shift, (largest, signed), isa in product((14, 15), ((127, False), (64, True)), ISAS):
        case = one_step(total, shift, coefficient, largest, signed)
        m = case.layer.v_init[0].item() + 2**shift * total + coefficient * largest
        engine = CpuEngine(case.program, isa=isa)
        packed = {name: engine.pack(name, train) for name, train in case.trains.items()}
        want = Want(frozenset({OUT}), frozenset(), True)
        fired = engine.run((OUT,), Given(packed, {}, 1, {}), want)[OUT]
        assert bool(engine.unpack(OUT, fired.spikes).all()) == (m >= 2**30)
        assert isinstance(fired.state, State)
        assert fired.state.v.unique().tolist() == [m - 2**30 if m >= 2**30 else m]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("jumps", [0, 1, 2])
def test_trains(jumps: int, signed: bool) -> None:
    """Several blocks, the last of five channels, over two chunks of steps."""
    jumped = tuple(Jump(37, signed=signed, largest=1 + 3 * i) for i in range(jumps))
    case = make(Recipe((37, 4, 5), (Window(16, signed=signed),), jumped, T=23, B=2, signed=signed))
    shortcuts = tuple(
        Shortcut(one.source, torch.randint(-(2**23), 2**23, (37,), dtype=torch.int32))
        for one in case.layer.shortcuts
    )
    case = changed(case, shortcuts=shortcuts)
    wanted = ReferenceEngine(case.program).run_layer(
        case.layer, case.trains, None, want_spikes=True, want_count=True, want_state=True
    )
    for isa in ISAS:
        engine = CpuEngine(case.program, isa=isa)
        packed = {name: engine.pack(name, train) for name, train in case.trains.items()}
        want = Want(frozenset({OUT}), frozenset(), False)
        fired = engine.run((OUT,), Given(packed, {}, 23, {}), want)[OUT]
        assert torch.equal(engine.unpack(OUT, fired.spikes), wanted.spikes)
