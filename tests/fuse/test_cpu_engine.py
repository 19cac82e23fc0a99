"""The CPU engine gives the bits of the definition, on every instruction set of this machine."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.engine import Fired, Given, IntegerProgram, Source, Want
from spikeconv.fuse.layer import WEIGHTS, Convolution, IntegerLayer, Pool, Shortcut
from spikeconv.fuse.reference import State
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops.native import instruction_sets
from tests.fixtures import threads_as_before as threads_as_before
from tests.fuse.integer_cases import (
    OUT,
    Case,
    Jump,
    Recipe,
    Window,
    changed,
    make,
    pooled,
    recipes,
    with_steps,
)

ISAS = [*instruction_sets(), "amx_emulated"]
ALL = {"want_spikes": True, "want_count": True, "want_state": True}
EVERYTHING = Want(frozenset({OUT}), frozenset({OUT}), True)
SPIKES = Want(frozenset({OUT}), frozenset(), False)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def run(engine: CpuEngine, case: Case, trains: dict[str, Tensor], state: State | None) -> Fired:
    return engine.run((OUT,), given_to(engine, trains, state), EVERYTHING)[OUT]


def given_to(engine: CpuEngine, trains: dict[str, Tensor], state: State | None = None) -> Given:
    packed = {name: engine.pack(name, train) for name, train in trains.items()}
    steps = len(next(iter(trains.values())))
    return Given(packed, {}, steps, {} if state is None else {OUT: state})


def assert_state(got: State | None, wanted: State | None) -> None:
    assert got is not None
    assert wanted is not None
    assert torch.equal(got.v, wanted.v)
    assert (got.net_count is None) == (wanted.net_count is None)
    if wanted.net_count is not None:
        assert torch.equal(got.net_count, wanted.net_count)
    assert got.done == wanted.done


def assert_equal(engine: CpuEngine, got: Fired, wanted: Fired) -> None:
    assert torch.equal(engine.unpack(OUT, got.spikes), wanted.spikes)
    assert torch.equal(got.count, wanted.count)
    assert_state(got.state, wanted.state)


def compare(case: Case, isas: list[str]) -> Fired:
    """Run a case on all of them; what the definition gives."""
    wanted = ReferenceEngine(case.program).run_layer(case.layer, case.trains, None, **ALL)
    for isa in isas:
        for sums in ("products", "events", "lookups"):
            engine = CpuEngine(case.program, isa=isa, sums=sums)
            assert engine.isa == isa
            assert_equal(engine, run(engine, case, case.trains, None), wanted)
            # Where membranes are nobody's, neurons may wait for the products of other pixels.
            alone = engine.run((OUT,), given_to(engine, case.trains), SPIKES)[OUT]
            assert torch.equal(engine.unpack(OUT, alone.spikes), wanted.spikes)
    return wanted


@settings(max_examples=60, deadline=None)
@given(recipes())
def test_random_layers(recipe: Recipe) -> None:
    compare(make(recipe), ISAS)


@settings(max_examples=50, deadline=None)
@given(recipes(most=40))
def test_time_in_two_parts(recipe: Recipe) -> None:
    case = make(recipe)
    middle = recipe.T // 2
    if middle == 0:
        return
    wanted = ReferenceEngine(case.program).run_layer(case.layer, case.trains, None, **ALL)
    engine = CpuEngine(case.program)
    first = run(engine, case, with_steps(case, 0, middle), None)
    second = run(engine, case, with_steps(case, middle, recipe.T), first.state)
    parts = [engine.unpack(OUT, part.spikes) for part in (first, second)]
    assert torch.equal(torch.cat(parts), wanted.spikes)
    assert first.count is not None
    assert torch.equal(first.count + second.count, wanted.count)
    assert_state(second.state, wanted.state)


@settings(max_examples=50, deadline=None)
@given(pooled())
def test_pools(drawn: tuple[Pool, IntegerProgram, Tensor]) -> None:
    pool, program, train = drawn
    wanted = ReferenceEngine(program).run_pool(pool, train)
    for isa in ISAS:
        engine = CpuEngine(program, isa=isa)
        want = Want(frozenset({"sums"}), frozenset(), False)
        found = engine.run(("sums",), given_to(engine, {"read": train}), want)["sums"]
        assert torch.equal(engine.unpack("sums", found.spikes), wanted)


@pytest.mark.parametrize("precision", WEIGHTS)
@pytest.mark.parametrize("signed", [False, True])
def test_many_channels(isa: str, precision: str, signed: bool) -> None:
    window = Window(509, kernel=(3, 2), precision=precision, signed=signed)
    wanted = compare(make(Recipe((515, 2, 3), (window,), T=5, shift=2, signed=signed)), [isa])
    assert 0 < wanted.spikes.float().abs().mean() < 1


@pytest.mark.parametrize("T", [1, 2, 3, 5, 7, 16, 17, 31, 32, 33, 50])
def test_every_number_of_steps(isa: str, T: int) -> None:
    for outputs in (16, 40):
        compare(make(Recipe((outputs, 3, 5), (Window(12),), (Jump(outputs),), T=T, B=2)), [isa])


@pytest.mark.parametrize("outputs", [1, 15, 16, 17, 31, 32, 33, 47, 64, 65])
def test_every_number_of_channels(isa: str, outputs: int) -> None:
    for inputs in (1, 3, 4, 5, 16, 21, 64):
        compare(make(Recipe((outputs, 2, 2), (Window(inputs),), T=3, seed=inputs)), [isa])


def test_groups_of_every_size(isa: str) -> None:
    for groups, inputs, outputs in ((24, 24, 48), (2, 10, 6), (3, 600, 72), (7, 49, 21), (5, 5, 5)):
        compare(make(Recipe((outputs, 3, 3), (Window(inputs, groups),), T=4, B=2)), [isa])


def linear(weight: Tensor, theta: int, v_init: int, bias: int) -> Case:
    """One neuron over the single pixel of a source "x"."""
    read = Source("x", (weight.shape[1], 1, 1), 1, False, (0, 0, 0, 0))
    layer = IntegerLayer(
        OUT,
        (1, 1, 1),
        (Convolution("x", weight[..., None, None]),),
        (),
        0,
        torch.tensor([theta], dtype=torch.int32),
        torch.tensor([v_init], dtype=torch.int32),
        torch.tensor([[bias]], dtype=torch.int32),
        False,
        torch.ones(1, dtype=torch.float64),
        1,
    )
    sources = {"x": read, OUT: Source(OUT, (1, 1, 1), 1, False, (0, 0, 0, 0))}
    return Case(layer, IntegerProgram({OUT: layer}, {}, sources))


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_at_the_ends_of_int32(isa: str, sign: int) -> None:
    """128 inputs of the largest int16 weight, and a start that takes them to the last value."""
    weight = torch.full((1, 128), sign * 32639, dtype=torch.int16)
    end = 2**31 - 1 if sign > 0 else -(2**31)
    case = linear(weight, 2**31 - 1, end - 128 * sign * 32639 - 7 * sign, 7 * sign)
    case.trains["x"] = torch.ones(1, 1, 128, 1, 1, dtype=torch.int8)
    wanted = compare(case, [isa])
    assert wanted.state is not None
    assert wanted.spikes.item() == (1 if sign > 0 else 0)
    assert wanted.state.v.item() == (0 if sign > 0 else end)


@pytest.mark.parametrize("weight", [127, -128])
def test_every_product_at_its_largest(isa: str, weight: int) -> None:
    """As many of the largest products as a kernel could sum up in 16 bits, and more."""
    for largest, signed in ((1, False), (1, True), (127, True), (127, False)):
        window = Window(512, kernel=(3, 3), signed=signed, largest=largest)
        case = make(Recipe((33, 2, 2), (window,), T=2))
        (convolution,) = case.layer.convolutions
        full = Convolution(
            "convolved0", torch.full_like(convolution.weight, weight), padding=(1, 1)
        )
        case = changed(case, convolutions=(full,))
        for value in (largest, -largest if signed else 0):
            case.trains["convolved0"] = torch.full_like(case.trains["convolved0"], value)
            compare(case, [isa])


@pytest.mark.parametrize("B", [1, 5])
def test_any_number_of_threads(isa: str, B: int) -> None:
    case = make(Recipe((96, 7, 7), (Window(64),), (Jump(96),), T=16, B=B, signed=True))
    wanted = ReferenceEngine(case.program).run_layer(case.layer, case.trains, None, **ALL)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        engine = CpuEngine(case.program, isa=isa)
        assert_equal(engine, run(engine, case, case.trains, None), wanted)


def test_only_what_is_wanted_is_given() -> None:
    case = make(Recipe((5, 2, 2), (Window(3),)))
    engine = CpuEngine(case.program)
    nothing = Want(frozenset(), frozenset(), False)
    assert engine.run((OUT,), given_to(engine, case.trains), nothing) == {
        OUT: Fired(None, None, None)
    }


def test_memory_is_used_again_once_nobody_holds_it() -> None:
    case = make(Recipe((5, 2, 2), (Window(3),), T=4, B=2))
    engine = CpuEngine(case.program)
    train = case.trains["convolved0"]
    first, second = engine.pack("convolved0", train), engine.pack("convolved0", 0 * train)
    assert torch.equal(engine.unpack("convolved0", first), train)
    assert not engine.unpack("convolved0", second).any()
    place = first.memory.data_ptr()
    del first
    third = engine.pack("convolved0", train)
    assert third.memory.data_ptr() == place
    assert not engine.unpack("convolved0", second).any()
    # Another number of steps needs other memory.
    assert torch.equal(engine.unpack("convolved0", engine.pack("convolved0", train[:2])), train[:2])


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int32]
)
def test_trains_of_any_dtype_and_layout(dtype: torch.dtype) -> None:
    case = make(Recipe((5, 2, 2), (Window(3, signed=True),), T=4, B=2))
    engine = CpuEngine(case.program)
    train = case.trains["convolved0"]
    assert torch.equal(
        engine.unpack("convolved0", engine.pack("convolved0", train.to(dtype))), train
    )
    last = train.to(dtype).permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    assert torch.equal(engine.unpack("convolved0", engine.pack("convolved0", last)), train)


def test_floats_are_taken_by_their_sign() -> None:
    case = make(Recipe((5, 2, 2), (Window(3, signed=True),)))
    engine = CpuEngine(case.program)
    train = case.trains["convolved0"]
    psp = engine.pack("convolved0", train * torch.rand(3, 1, 1))
    assert torch.equal(engine.unpack("convolved0", psp), train)


def test_a_halo_that_is_too_small_is_an_error() -> None:
    case = make(Recipe((5, 2, 2), (Window(3),)))
    source = case.program.sources["convolved0"]
    bad = Source(source.name, source.shape, 1, False, (0, 1, 1, 1))
    program = IntegerProgram(case.program.layers, {}, {**case.program.sources, source.name: bad})
    with pytest.raises(RuntimeError, match=r"reads rows from -1 to 2 of a source that has 2, with"):
        CpuEngine(program)


def test_an_instruction_set_that_is_not_there_is_an_error() -> None:
    case = make(Recipe((5, 2, 2), (Window(3),)))
    with pytest.raises(RuntimeError, match=r"isa must be one of default, .* got mmx"):
        CpuEngine(case.program, isa="mmx")


def test_a_shortcut_from_a_source_that_is_too_small_is_an_error() -> None:
    case = make(Recipe((5, 4, 4), (), (Jump(5),)))
    shortcut = Shortcut("jumped0", case.layer.shortcuts[0].coefficient, (2, 1))
    with pytest.raises(RuntimeError, match="too small for 4 x 4 neurons at stride 2, 1"):
        CpuEngine(changed(case, shortcuts=(shortcut,)).program)
