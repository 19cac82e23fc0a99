"""Sums from events, and sums that are looked up, have the bits of products with every byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.engine import Given, Want
from spikeconv.fuse.layer import WEIGHTS
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops.native import instruction_sets
from tests.fuse.integer_cases import OUT, Case, Jump, Recipe, Window, make, recipes

SUMS = ("auto", "products", "events", "lookups")
SPIKES = Want(frozenset([OUT]), frozenset(), False)


def fire(case: Case, rate: float) -> Case:
    """The case with so many of its sources' neurons firing at each step."""
    random = torch.Generator().manual_seed(1)
    for name, train in case.trains.items():
        fired = torch.rand(train.shape, generator=random) < rate
        case.trains[name] = fired.to(torch.int8)
    return case


def compare(case: Case, isas: list[str]) -> None:
    (train, *_) = case.trains.values()
    definition = ReferenceEngine(case.program)
    wanted = definition.run((OUT,), Given(case.trains, {}, len(train), {}), SPIKES)[OUT].spikes
    for isa in isas:
        for sums in SUMS:
            engine = CpuEngine(case.program, isa=isa, sums=sums)
            packed = {name: engine.pack(name, train) for name, train in case.trains.items()}
            found = engine.run((OUT,), Given(packed, {}, len(train), {}), SPIKES)[OUT]
            assert torch.equal(engine.unpack(OUT, found.spikes), wanted), (isa, sums)


@settings(max_examples=60, deadline=None)
@given(recipes(), st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0]))
def test_random_layers_of_spikes(recipe: Recipe, rate: float) -> None:
    windows = tuple(replace(each, signed=False, largest=1) for each in recipe.windows)
    if windows:
        jumps = tuple(replace(each, signed=False, largest=1) for each in recipe.jumps)
        case = make(replace(recipe, windows=windows, jumps=jumps, B=max(1, recipe.B)))
        compare(fire(case, rate), instruction_sets())


@st.composite
def looked_up(draw: st.DrawFn) -> Recipe:
    """Layers whose sums can be looked up, with at most 40 words of 16 channels in a window."""
    outputs, height = draw(st.integers(1, 50)), draw(st.integers(1, 9))
    windows: list[Window] = []
    room = 40
    for _ in range(draw(st.integers(1, 2))):
        kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
        channels = draw(st.integers(1, 64))
        words = kernel[0] * kernel[1] * -(-channels // 16)
        if words <= room and sum(w.inputs for w in windows) + channels * kernel[0] <= 200:
            room -= words
            padding = (draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1)))
            stride = (draw(st.integers(1, 2)), draw(st.integers(1, 3)))
            dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
            spare = draw(st.integers(0, 2))
            precision = draw(st.sampled_from(list(WEIGHTS)))
            windows.append(
                Window(
                    channels, 1, kernel, stride, padding, (0, 0), dilation, precision, spare=spare
                )
            )
    jumps = []
    for _ in range(draw(st.integers(0, 2))):
        channel = draw(st.integers(0, outputs - 1))
        stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        jumps.append(Jump(draw(st.integers(1, outputs - channel)), channel, stride))
    return Recipe(
        (outputs, height, draw(st.integers(1, 45))),
        tuple(windows or [Window(16)]),
        tuple(jumps),
        T=draw(st.integers(1, 34)),
        B=draw(st.integers(1, 2)),
        shift=draw(st.integers(0, 6)),
        bias_rows=draw(st.integers(1, 20)),
        seed=draw(st.integers(0, 2**20)),
    )


@settings(max_examples=100, deadline=None)
@given(looked_up(), st.sampled_from([0.0, 0.1, 1.0]))
def test_random_layers_of_words(recipe: Recipe, rate: float) -> None:
    compare(fire(make(recipe), rate), instruction_sets())


def looks_up(recipe: Recipe, sums: str = "lookups") -> bool:
    """Whether every instruction set with AVX2 or AVX-512 does, which is the same for all."""
    isas = [isa for isa in instruction_sets() if isa.startswith("avx")]
    answers = {CpuEngine(make(recipe).program, isa=isa, sums=sums).looked_up for isa in isas}
    return answers != {()}


def test_what_is_looked_up() -> None:
    plain = Recipe((16, 4, 8), (Window(16),), (Jump(16),))
    point = Window(64, kernel=(1, 1), padding=(0, 0), after=(0, 0))
    if not any(isa.startswith("avx") for isa in instruction_sets()):
        assert not looks_up(plain)
        return
    assert looks_up(plain)
    assert looks_up(replace(plain, windows=(Window(64), point)))
    for precision in WEIGHTS:
        assert looks_up(replace(plain, windows=(Window(64), replace(point, precision=precision))))
    for other in (
        replace(plain, signed=True),
        replace(plain, v_per_neuron=True),
        replace(plain, bias_per_neuron=True),
        replace(plain, shift=15),
        replace(plain, windows=()),
        replace(plain, windows=(Window(16, 2),)),
        replace(plain, windows=(Window(16, 16),)),
        replace(plain, windows=(Window(16, largest=4),)),
        replace(plain, windows=(Window(16, signed=True),)),
        replace(plain, windows=(Window(64), replace(point, inputs=65))),
        replace(plain, jumps=(Jump(16, largest=4),)),
        replace(plain, jumps=(Jump(16, signed=True),)),
    ):
        assert not looks_up(other), other
    for sums in ("products", "events"):
        assert not looks_up(plain, sums)


@pytest.mark.parametrize("most", [127, -128])
@pytest.mark.parametrize("kernel", [(16, 1), (17, 1)])
def test_sums_beyond_16_bits_are_not_looked_up(kernel: tuple[int, int], most: int) -> None:
    """256 weights of -128 are just within 16 bits; 272 of either kind are beyond."""
    window = Window(16, kernel=kernel, padding=(0, 0), after=(0, 0))
    case = make(Recipe((16, 2, 8), (window,), T=16))
    (convolution,) = case.layer.convolutions
    convolution.weight.fill_(most)
    compare(fire(case, 1.0), instruction_sets())


@pytest.mark.parametrize("rate", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("precision", WEIGHTS)
@pytest.mark.parametrize("width", [40, 41])
def test_an_image_is_listed_in_parts(rate: float, precision: str, width: int) -> None:
    """64 channels of 40 x 40 pixels and 16 steps are more than is listed together."""
    recipe = Recipe((70, 40, width), (Window(64, precision=precision),), (Jump(64),), T=16)
    compare(fire(make(recipe), rate), instruction_sets()[-1:])


def test_windows_of_every_kind_in_one_layer() -> None:
    windows = (
        Window(48),
        Window(40, stride=(2, 2), padding=(1, 1), after=(1, 1)),
        Window(9, kernel=(5, 3), dilation=(2, 1), padding=(4, 1), after=(4, 1)),
        Window(72, groups=72),
    )
    compare(fire(make(Recipe((72, 6, 7), windows, T=19)), 0.1), instruction_sets())


@pytest.mark.parametrize(
    ("outputs", "inputs", "groups"),
    [(16, 64, 2), (16, 64, 4), (16, 32, 2), (16, 16, 2), (24, 16, 2)],
)
@pytest.mark.parametrize("width", [5, 8])
def test_groups_that_one_block_of_channels_reads(
    outputs: int, inputs: int, groups: int, width: int
) -> None:
    recipe = Recipe((outputs, 5, width), (Window(inputs, groups),), T=5)
    compare(fire(make(recipe), 0.1), instruction_sets())


@pytest.mark.parametrize("rate", [0.5, 1.0])
@pytest.mark.parametrize("channels", [8190, 8191, 8192])
def test_windows_too_large_for_a_place(channels: int, rate: float) -> None:
    """8191 places and that of a row of zeros are the most that 16 bits can say."""
    window = Window(channels, kernel=(1, 1), padding=(0, 0), after=(0, 0))
    compare(fire(make(Recipe((33, 2, 2), (window,), T=2)), rate), instruction_sets())


def test_rows_that_no_window_reads_cost_no_memory() -> None:
    """Lists of all rows between the first and the last would have room for 18 million places."""
    window = Window(512, kernel=(2, 1), dilation=(900, 1), padding=(0, 0), after=(0, 0))
    compare(fire(make(Recipe((20, 1, 10), (window,), T=4)), 0.01), instruction_sets()[-1:])


def test_outputs_far_beyond_what_they_read() -> None:
    """Positions of the last rows read nothing, and no memory: that would be 0.9 MB further on."""
    window = Window(16, kernel=(24, 1), padding=(23, 0), after=(23, 0))
    case = make(Recipe((16, 24, 20000), (window,), T=1))
    case.layer.convolutions[0].weight.clamp_(-10, 10)
    compare(fire(case, 0.1), instruction_sets())


def test_a_layer_with_large_weights_alone() -> None:
    """Nothing passes between steps, and weights are read once for several images."""
    compare(fire(make(Recipe((1024, 2, 2), (Window(1024),), T=2, B=3)), 0.1), instruction_sets())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        recipe = Recipe((96, 9, 9), (Window(64), Window(70, kernel=(1, 1), padding=(0, 0))), B=4)
        compare(fire(make(recipe), 0.1), instruction_sets()[-1:])
    finally:
        torch.set_num_threads(before)


def test_another_word_is_an_error() -> None:
    case = make(Recipe((5, 2, 2), (Window(3),)))
    message = "sums must be auto, products, events or lookups, got sometimes"
    with pytest.raises(RuntimeError, match=message):
        CpuEngine(case.program, sums="sometimes")
