"""Chains give what their steps give one after the other, and encoders what `if_multistep` gives."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.encoder import Encoder
from spikeconv.fuse.engine import Fired, Given, IntegerProgram, Source, Want
from spikeconv.fuse.layer import WEIGHTS
from spikeconv.neuron import IFNode
from spikeconv.ops import if_multistep
from spikeconv.ops.native import instruction_sets
from tests.fixtures import threads_as_before as threads_as_before
from tests.fuse.networks import currents, engine_of, residual, trains

ISAS = [*instruction_sets(), "amx_emulated"]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**20), st.booleans(), st.sampled_from(list(WEIGHTS)), st.integers(1, 36),
    st.integers(0, 5), st.integers(1, 20), st.integers(1, 3), st.sampled_from(["auto", "lookups"]),
)  # fmt: skip
def test_a_chain_gives_what_its_steps_give(
    seed: int, signed: bool, precision: str, T: int, B: int, width: int, threads: int, sums: str
) -> None:
    net = residual(seed=seed, signed=signed, precision=precision, width=width, alike=seed % 2 == 0)
    current = currents(net, B, seed)
    wanted = trains(net, current, T)
    torch.set_num_threads(threads)
    counted = ["stem", "more.second", "linear"]
    for isa in ISAS:
        engine = engine_of(net, isa, sums)
        chain = engine.chain(net.steps, spikes=["plain.first", "pooled"], counts=counted)
        assert (chain.given, chain.currents) == ((), ("stem",))
        for _ in range(2):  # the second time in used memory
            got = chain.run({}, {"stem": current}, T)
            for name in ("plain.first", "pooled"):
                assert torch.equal(engine.unpack(name, got[name].spikes), wanted[name])
            for name in counted:
                assert torch.equal(got[name].count, wanted[name].sum(0, dtype=torch.int32))


@pytest.mark.parametrize("signed", [False, True])
def test_part_of_a_network_on_spikes_that_are_given(signed: bool) -> None:
    net = residual(seed=3, signed=signed)
    wanted = trains(net, currents(net, 3), 9)
    engine = engine_of(net)
    first = net.steps.index("projected.first")
    chain = engine.chain(net.steps[first:-1], spikes=["after.second"])
    assert chain.given == ("more.second",)
    got = chain.run({"more.second": engine.pack("more.second", wanted["more.second"])})
    assert torch.equal(
        engine.unpack("after.second", got["after.second"].spikes), wanted["after.second"]
    )


@pytest.mark.parametrize("signed", [False, True])
def test_time_in_parts(signed: bool) -> None:
    net = residual(seed=4, signed=signed)
    current = currents(net, 3)
    wanted = trains(net, current, 19)
    engine = engine_of(net)
    chain = engine.chain(net.steps, spikes=["linear"], counts=["stem", "linear"])
    states, parts, total = None, [], 0
    for T in (1, 16, 2):
        got = chain.run({}, {"stem": current}, T, states, want_states=True)
        states = {name: fired.state for name, fired in got.items() if fired.state is not None}
        parts.append(engine.unpack("linear", got["linear"].spikes))
        total += got["linear"].count
    assert torch.equal(torch.cat(parts), wanted["linear"])
    assert torch.equal(total, wanted["linear"].sum(0, dtype=torch.int32))


def test_chains_at_the_same_time() -> None:
    """Threads of Python share an engine, and no memory."""
    from concurrent.futures import ThreadPoolExecutor

    net = residual(seed=5, width=16)
    engine = engine_of(net)
    xs = [currents(net, 2, seed) for seed in range(8)]
    wanted = [trains(net, x, 8)["linear"].sum(0, dtype=torch.int32) for x in xs]

    def run(x: Tensor) -> Tensor | None:
        chain = engine.chain(net.steps, counts=["linear"])
        return chain.run({}, {"stem": x}, 8)["linear"].count

    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, want in zip(pool.map(run, xs), wanted, strict=True):
                assert torch.equal(got, want)


def encoder_case(
    shape: tuple[int, int, int],
    signed: bool,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None,
) -> tuple[IntegerProgram, Encoder]:
    program = IntegerProgram({}, {}, {"in": Source("in", shape, 1, signed, (1, 0, 2, 1))})
    return program, Encoder("in", v_threshold, v_init, bias)


def encoded(engine: CpuEngine, current: Tensor, T: int) -> Fired:
    wanted = frozenset({"in"})
    return engine.run(("in",), Given({}, {"in": current}, T, {}), Want(wanted, wanted, True))["in"]


SPECIAL = [math.inf, -math.inf, math.nan, 0.0, -0.0, 1e-45, 3e38, -3e38]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**20), st.tuples(st.integers(1, 40), st.integers(1, 3), st.integers(1, 37)),
    st.booleans(), st.integers(1, 40), st.integers(0, 3), st.sampled_from([0, 1, 2, 50]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()), st.booleans(), st.booleans(),
)  # fmt: skip
def test_encoders_give_the_bits_of_the_neuron(
    seed: int, shape: tuple[int, int, int], signed: bool, T: int, B: int, rows: int,
    per_neuron: tuple[bool, bool, bool], last: bool, special: bool,
) -> None:  # fmt: skip
    random = torch.Generator().manual_seed(seed)

    def table(full: bool, *lead: int) -> Tensor:
        return torch.randn(*lead, *(shape if full else (shape[0], 1, 1)), generator=random)

    theta, v_init = table(per_neuron[0]).abs() + 0.1, table(per_neuron[1])
    bias = table(per_neuron[2], rows) / 4 if rows else None
    current = torch.randn(B, *shape, generator=random)
    if special:
        values = torch.tensor(SPECIAL)
        current = values[torch.randint(len(SPECIAL), current.shape, generator=random)]
    if last:
        current = current.contiguous(memory_format=torch.channels_last)
    timed = None if bias is None else bias[torch.arange(T).clamp(max=rows - 1)].unsqueeze(1)
    options = {"T": T, "signed": signed, "backend": "reference"}
    wanted, v = if_multistep(current, theta, v_init, timed, emit="uint8", **options)
    program, encoder = encoder_case(shape, signed, theta, v_init, bias)
    for isa in ISAS:
        engine = CpuEngine(program, [encoder], isa)
        got = encoded(engine, current, T)
        assert torch.equal(engine.unpack("in", got.spikes), wanted.to(torch.int8))
        assert torch.equal(got.count, wanted.sum(0, dtype=torch.int32))
        assert got.state is not None
        assert torch.equal(got.state.v.isnan(), v.isnan())
        assert torch.equal(got.state.v.nan_to_num(), v.nan_to_num())


def test_an_encoder_has_the_parameters_of_its_population() -> None:
    torch.manual_seed(0)
    node = IFNode(
        torch.rand(3, 1, 1) + 0.5,
        torch.rand(1),
        torch.rand(3, 1, 1),
        step_bias=torch.rand(2, 3, 1, 1),
    )
    x = torch.randn(2, 3, 4, 5)
    program, _ = encoder_case((3, 4, 5), False, node.v_threshold, node.v_init, None)
    program.sources["in"]
    engine = CpuEngine(program, [Encoder.of("in", node, (3, 4, 5))])
    wanted, _ = node.run(x, T=7, emit="uint8")
    assert torch.equal(engine.unpack("in", encoded(engine, x, 7).spikes), wanted.to(torch.int8))


@pytest.mark.parametrize("shape", [(6,), (6, 4)])
def test_an_encoder_of_fewer_dimensions(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    node = IFNode(torch.rand(shape) + 0.5, torch.rand(shape), step_bias=torch.rand(3, *shape))
    x = torch.randn(2, *shape)
    image = (shape[0], 1, *shape[1:]) if len(shape) == 2 else (shape[0], 1, 1)
    program = IntegerProgram({}, {}, {"in": Source("in", image, 1, False, (0, 0, 0, 0))})
    engine = CpuEngine(program, [Encoder.of("in", node, shape)])
    wanted, _ = node.run(x, T=5, emit="uint8")
    got = engine.unpack("in", encoded(engine, x.view(2, *image), 5).spikes)
    assert torch.equal(got.view(5, 2, *shape), wanted.to(torch.int8))


def test_an_encoder_lies_where_its_population_does() -> None:
    """A bias of steps alone, as search fits it, on a device where the CPU's are strangers."""
    node = IFNode(torch.ones(3, 1, 1), 0.5, step_bias=torch.randn(2, 3, 1, 1)).to("meta")
    bias = Encoder.of("in", node, (3, 4, 5)).bias
    assert bias is not None
    assert (bias.device.type, bias.shape) == ("meta", (3, 3, 1, 1))


@pytest.mark.parametrize("options", [{"v_reset": 0.0}, {"fires": "gt"}])
def test_a_population_of_another_rule_is_no_encoder(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="reset by subtraction and fire at its threshold, got IF"):
        Encoder.of("in", IFNode(**options), (1, 1, 1))


def test_layers_of_all_sizes_take_turns_in_the_same_memory() -> None:
    """A block needs its input, what passes between its layers, and its output: three slots."""
    net = residual(seed=0)
    chain = engine_of(net).chain(net.steps, counts=["linear"])
    page, apart, slack, T = 4096, 320, 256, 100
    # The planes of a block, by rows, columns and channels, with borders: of those that lie in one
    # slot one after another the largest counts.
    stem, more, projected = 8 * 7 * 5, 5 * 7 * 8, 5 * 5 * 10
    assert projected < more == stem
    slot = -(-(slack + T * stem) // page) * page + apart
    assert chain.memory(T) == 3 * slot
    assert chain.memory(1) == 3 * (page + apart)


@pytest.mark.parametrize("threads", [1, 2])
def test_images_that_take_turns(threads: int) -> None:
    """Weights of more than 8 MiB are read once for several images."""
    net = residual(seed=8, width=1)
    net.layer("wide", [net.convolution("more.second", 1024, 3, (1, 1))], [], (3, 5))
    net.layer("last", [net.convolution("wide", 1024, 3, (1, 1))], [], (3, 5))
    current = currents(net, 7)
    wanted = trains(net, current, 2)
    torch.set_num_threads(threads)
    engine = engine_of(net)
    for last, turns in (("wide", False), ("last", True)):
        steps = net.steps[: net.steps.index(last) + 1]
        chain = engine.chain(steps, spikes=[last])
        got = chain.run({}, {"stem": current}, 2)[last].spikes
        assert torch.equal(engine.unpack(last, got), wanted[last])
        assert (chain.memory(2) > 4 * engine.chain(steps[:-1], [steps[-2]]).memory(2)) == turns


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("B", [1, 4])
def test_borders_are_written_beside_pixels_by_other_threads(signed: bool, B: int) -> None:
    """Large enough for threads to share a layer; the borders of every slot change their format."""
    net = residual(seed=6, signed=signed, width=20, size=(17, 15))
    current = currents(net, B)
    wanted = trains(net, current, 16)["linear"]
    torch.set_num_threads(3)
    engine = engine_of(net)
    chain = engine.chain(net.steps, spikes=["linear"])
    for _ in range(5):
        got = chain.run({}, {"stem": current}, 16)["linear"].spikes
        assert torch.equal(engine.unpack("linear", got), wanted)


@pytest.mark.parametrize("isa", ISAS)
def test_a_pool_that_nobody_reads(isa: str) -> None:
    net = residual(seed=9)
    current = currents(net, 2)
    last = net.steps.index("pooled")
    chain = engine_of(net, isa).chain(net.steps[: last + 1], spikes=[net.steps[last - 1]])
    got = chain.run({}, {"stem": current}, 3)[net.steps[last - 1]].spikes
    wanted = trains(net, current, 3)[net.steps[last - 1]]
    assert torch.equal(engine_of(net, isa).unpack(net.steps[last - 1], got), wanted)


def test_what_is_wanted_must_be_a_step() -> None:
    engine = engine_of(residual(seed=0))
    with pytest.raises(ValueError, match="'linear' is wanted but is no step"):
        engine.chain(["stem"], counts=["linear"])


def test_without_spikes_the_number_of_steps_is_needed() -> None:
    net = residual(seed=0)
    with pytest.raises(ValueError, match="T must be the number of time-steps"):
        engine_of(net).chain(["stem"], counts=["stem"]).run({}, {"stem": currents(net, 1)})


def test_sources_come_first() -> None:
    engine = engine_of(residual(seed=0))
    with pytest.raises(RuntimeError, match="must be written once, and not be read before"):
        engine.chain(["plain.second", "plain.first"])


@pytest.mark.parametrize("change", [torch.Tensor.double, lambda x: x[:, 1:], lambda x: x[0]])
def test_currents_of_another_kind_are_errors(change) -> None:
    net = residual(seed=0)
    chain = engine_of(net).chain(["stem"], counts=["stem"])
    with pytest.raises(RuntimeError, match="a current must be float32"):
        chain.run({}, {"stem": change(currents(net, 2))}, 4)
