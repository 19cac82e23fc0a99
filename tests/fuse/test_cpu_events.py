"""Sums made from events alone have the bits of products with every byte, however many there are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.engine import Given, Want
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops.native import instruction_sets
from tests.fuse.integer_cases import OUT, Case, Jump, Recipe, Window, make, recipes

EVENTS = ("auto", "always", "never")
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
        for events in EVENTS:
            engine = CpuEngine(case.program, isa=isa, events=events)
            packed = {name: engine.pack(name, train) for name, train in case.trains.items()}
            found = engine.run((OUT,), Given(packed, {}, len(train), {}), SPIKES)[OUT]
            assert torch.equal(engine.unpack(OUT, found.spikes), wanted), (isa, events)


@settings(max_examples=60, deadline=None)
@given(recipes(), st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0]))
def test_random_layers_of_spikes(recipe: Recipe, rate: float) -> None:
    plain = [replace(each, signed=False, largest=1, groups=1) for each in recipe.windows]
    if plain:
        jumps = tuple(replace(each, signed=False, largest=1) for each in recipe.jumps)
        case = make(replace(recipe, windows=tuple(plain), jumps=jumps, B=max(1, recipe.B)))
        compare(fire(case, rate), instruction_sets())


@pytest.mark.parametrize("rate", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("wide", [False, True])
def test_an_image_is_listed_in_parts(rate: float, wide: bool) -> None:
    """64 channels of 40 x 40 pixels and 16 steps are more than is listed together."""
    recipe = Recipe((70, 40, 40), (Window(64, wide=wide),), (Jump(64),), T=16)
    compare(fire(make(recipe), rate), instruction_sets()[-1:])


@pytest.mark.parametrize("channels", [909, 910, 911])
def test_windows_too_large_for_a_place(channels: int) -> None:
    """9 * 910 = 8190 places of 16 bits are the most."""
    recipe = Recipe((33, 2, 2), (Window(channels),), T=2)
    compare(fire(make(recipe), 0.5), instruction_sets())


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
    with pytest.raises(RuntimeError, match="events must be auto, always or never, got sometimes"):
        CpuEngine(case.program, events="sometimes")
