"""Spikes that go from layer to layer as words of bits are those of the definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeconv.ops.native import instruction_sets
from tests.fixtures import threads_as_before as threads_as_before
from tests.fuse.networks import currents, engine_of, residual, trains

LOOKING_UP = [isa for isa in instruction_sets() if isa.startswith("avx")]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**20), st.integers(1, 34), st.integers(1, 5), st.integers(1, 24),
    st.tuples(st.integers(3, 9), st.integers(3, 40)), st.integers(1, 3), st.booleans(),
)  # fmt: skip
def test_words_go_from_layer_to_layer(
    seed: int, T: int, B: int, width: int, size: tuple[int, int], threads: int, turned: bool
) -> None:
    net = residual(seed=seed, width=width, size=size, alike=True)
    current = currents(net, B, seed)
    wanted = trains(net, current, T)
    if turned:
        current = current.contiguous(memory_format=torch.channels_last)
    torch.set_num_threads(threads)
    for isa in LOOKING_UP:
        engine = engine_of(net, isa, "lookups")
        assert {"plain.first", "plain.second", "more.first", "more.second"} <= {*engine.looked_up}
        chain = engine.chain(net.steps, spikes=["more.second"], counts=["plain.second", "linear"])
        for _ in range(2):
            got = chain.run({}, {"stem": current}, T)
            found = engine.unpack("more.second", got["more.second"].spikes)
            assert torch.equal(found, wanted["more.second"])
            for name in ("plain.second", "linear"):
                assert torch.equal(got[name].count, wanted[name].sum(0, dtype=torch.int32))


@pytest.mark.parametrize("isa", LOOKING_UP)
def test_more_steps_than_a_byte_counts(isa: str) -> None:
    net = residual(seed=7, width=3, alike=True)
    current = currents(net, 1)
    engine = engine_of(net, isa, "lookups")
    count = engine.chain(net.steps, counts=["linear"]).run({}, {"stem": current}, 300)["linear"]
    wanted = trains(net, current, 300)["linear"].sum(0, dtype=torch.int32)
    assert torch.equal(count.count, wanted)
