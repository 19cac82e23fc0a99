"""The Triton engine gives the reference's bits: every layer, every option, in one run or in two."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeconv.fuse import gpu_weights
from spikeconv.fuse.engine import IntegerProgram
from spikeconv.fuse.gpu import MULTIPLY, TritonEngine
from spikeconv.fuse.layer import WEIGHTS, Convolution, Shortcut
from tests.fuse.gpu_layers import (
    ALL,
    DEVICE,
    INTERPRETED,
    Case,
    cases,
    compare,
    integers,
    moved,
    plain_layer,
    source,
    spikes_of,
)

# Every new layer is compiled on a GPU.
EXAMPLES = 40 if INTERPRETED else 20


def case_of(layer, train, largest=1, signed=False) -> Case:
    """One source "s"."""
    return Case(layer, {"s": source("s", train, largest, signed)}, {"s": train})


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases(), st.sampled_from(MULTIPLY))
def test_any_layer(case: Case, multiply: str) -> None:
    compare(case, TritonEngine(case.program, multiply=multiply))


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(cases(channels=6), st.data())
def test_two_runs_are_one(case: Case, data: st.DataObject) -> None:
    T = len(next(iter(case.trains.values())))
    cut = data.draw(st.integers(1, T))
    first = Case(case.layer, case.sources, {n: x[:cut] for n, x in case.trains.items()})
    found, expected = compare(first)
    if cut < T:
        rest = Case(case.layer, case.sources, {n: x[cut:] for n, x in case.trains.items()})
        assert found.state is not None
        after, _ = compare(rest, state=moved(found.state, "cpu"))
        whole, _ = compare(case)
        assert torch.equal(after.state.v.cpu(), whole.state.v.cpu())
        assert torch.equal((found.count + after.count).cpu(), whole.count.cpu())
    assert expected.state is not None


@pytest.mark.parametrize("multiply", MULTIPLY)
@pytest.mark.parametrize(("K", "C"), [(1, 2), (16, 16), (17, 33), (100, 5), (130, 40)])
def test_channels_that_are_multiples_of_nothing(K: int, C: int, multiply: str) -> None:
    train = spikes_of((9, 2, C, 4, 5), 1, False, seed=K)
    weight = integers(-127, 127, K, C, 3, 3, seed=C, dtype=torch.int8)
    layer = plain_layer(weight, (4, 5), theta=30 * C)
    case = case_of(layer, train)
    _, expected = compare(case, TritonEngine(case.program, multiply=multiply))
    assert 0.02 < expected.spikes.float().mean() < 0.9


def test_hundreds_of_channels() -> None:
    train = spikes_of((5, 3, 509, 1, 1), 1, True, seed=0)
    weight = integers(-127, 127, 511, 509, 1, 1, seed=1, dtype=torch.int8)
    layer = plain_layer(weight, (1, 1), padding=(0, 0), theta=2000, signed=True)
    compare(case_of(layer, train, signed=True))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("T", [1, 2, 7, 8, 9, 16, 33, 40])
def test_numbers_of_steps(T: int, signed: bool) -> None:
    train = spikes_of((T, 1, 6, 3, 3), 1, signed, seed=T)
    weight = integers(-127, 127, 8, 6, 3, 3, seed=1, dtype=torch.int8)
    compare(case_of(plain_layer(weight, (3, 3), theta=300, signed=signed), train, signed=signed))


@pytest.mark.parametrize("bias_steps", [1, 3, 12, 40])
@pytest.mark.parametrize("per_neuron", [False, True])
def test_a_bias_of_each_step(per_neuron: bool, bias_steps: int) -> None:
    train = spikes_of((12, 2, 6, 3, 4), 1, False, seed=0)
    weight = integers(-127, 127, 8, 6, 3, 3, seed=1, dtype=torch.int8)
    shape = (bias_steps, 8, 3, 4) if per_neuron else (bias_steps, 8)
    bias = integers(-300, 300, *shape, seed=2, dtype=torch.int32)
    case = case_of(plain_layer(weight, (3, 4), bias=bias), train)
    found, _ = compare(case)
    later, _ = compare(case, state=moved(found.state, "cpu"))  # from step 12 on
    assert later.state.done == 24


def test_a_linear_layer_is_a_convolution_over_everything() -> None:
    train = spikes_of((10, 3, 12, 4, 5), 1, False, seed=0)
    weight = integers(-127, 127, 20, 12, 4, 5, seed=1, dtype=torch.int8)
    case = case_of(plain_layer(weight, (1, 1), padding=(0, 0), theta=2000), train)
    _, expected = compare(case)
    assert expected.count.any()


def test_a_linear_layer_on_single_values() -> None:
    train = spikes_of((10, 5, 300, 1, 1), 1, False, seed=0)
    weight = integers(-127, 127, 20, 300, 1, 1, seed=1, dtype=torch.int8)
    compare(case_of(plain_layer(weight, (1, 1), padding=(0, 0), theta=900), train))


@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("precision", WEIGHTS)
def test_depthwise(multiplier: int, precision: str) -> None:
    dtype, most = WEIGHTS[precision].dtype, WEIGHTS[precision].largest
    train = spikes_of((10, 2, 7, 5, 5), 1, True, seed=0)
    weight = integers(-most, most, 7 * multiplier, 1, 3, 3, seed=1, dtype=dtype)
    convolution = Convolution("s", weight, (2, 1), (1, 1), (1, 2), groups=7)
    layer = plain_layer(weight, (3, 4), theta=most, convolutions=(convolution,), shift=2)
    compare(case_of(layer, train, signed=True))


@pytest.mark.parametrize("groups", [2, 4, 16])
def test_groups(groups: int) -> None:
    train = spikes_of((10, 2, 3 * groups, 4, 4), 1, False, seed=0)
    weight = integers(-127, 127, 5 * groups, 3, 3, 3, seed=1, dtype=torch.int8)
    convolution = Convolution("s", weight, padding=(1, 1), groups=groups)
    layer = plain_layer(weight, (4, 4), theta=200, convolutions=(convolution,))
    compare(case_of(layer, train))


def test_a_shortcut_into_some_of_the_channels() -> None:
    # Option A: every other pixel, into the channels from 3 on, the others get nothing.
    train = spikes_of((10, 2, 5, 6, 6), 1, True, seed=0)
    weight = integers(-127, 127, 11, 5, 3, 3, seed=1, dtype=torch.int8)
    shortcut = Shortcut("s", integers(-900, 900, 5, seed=2, dtype=torch.int32), (2, 2), 3)
    convolution = Convolution("s", weight, (2, 2), (1, 1))
    layer = plain_layer(
        weight, (3, 3), theta=700, convolutions=(convolution,), shortcuts=(shortcut,), signed=True
    )
    compare(case_of(layer, train, signed=True))


@pytest.mark.parametrize("multiply", MULTIPLY)
@pytest.mark.parametrize("largest", [1, 7, 127])
@pytest.mark.parametrize("signed", [False, True])
def test_every_spike_at_its_largest_with_the_largest_weights(
    signed: bool, largest: int, multiply: str
) -> None:
    sign = 1 - 2 * (torch.arange(2) % 2).view(2, 1, 1, 1)
    train = torch.full((10, 1, 64, 3, 3), largest, dtype=torch.int8)
    train[::3] = -largest if signed else 0
    weight = (127 * sign).expand(2, 64, 3, 3).to(torch.int8).contiguous()
    case = case_of(plain_layer(weight, (3, 3), theta=10**6), train, largest, signed)
    _, expected = compare(case, TritonEngine(case.program, multiply=multiply))
    assert expected.state.v.abs().max() > largest * 127 * 64


@pytest.mark.parametrize("multiply", MULTIPLY)
@pytest.mark.parametrize("precision", WEIGHTS)
def test_sums_that_are_cut(precision: str, multiply: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # 450 terms of at most 128, no more than 200 of them in one sum.
    monkeypatch.setattr(gpu_weights, "largest_sum", lambda bits, multiply: 200 * 128)
    train = spikes_of((9, 1, 50, 3, 3), 1, True, seed=0)
    dtype, most = WEIGHTS[precision].dtype, WEIGHTS[precision].largest
    weight = integers(-most, most, 6, 50, 3, 3, seed=1, dtype=dtype)
    other = integers(-127, 127, 6, 50, 1, 1, seed=2, dtype=torch.int8)
    both = (Convolution("s", weight, padding=(1, 1)), Convolution("s", other))
    case = case_of(plain_layer(weight, (3, 3), theta=most * 4, convolutions=both), train, 1, True)
    compare(case, TritonEngine(case.program, multiply=multiply))


@pytest.mark.parametrize("wanted", ["want_spikes", "want_count", "want_state", None])
def test_only_what_is_wanted_is_given(wanted: str | None) -> None:
    train = spikes_of((9, 2, 5, 3, 3), 1, True, seed=0)
    weight = integers(-127, 127, 6, 5, 3, 3, seed=1, dtype=torch.int8)
    case = case_of(plain_layer(weight, (3, 3), theta=300, signed=True), train, signed=True)
    found, _ = compare(case, **{name: name == wanted for name in ALL})
    given = {"want_spikes": found.spikes, "want_count": found.count, "want_state": found.state}
    assert [name for name, value in given.items() if value is not None] == [wanted] * bool(wanted)


def test_no_images() -> None:
    train = torch.zeros(9, 0, 5, 3, 3, dtype=torch.int8)
    weight = integers(-127, 127, 6, 5, 3, 3, seed=1, dtype=torch.int8)
    found, _ = compare(case_of(plain_layer(weight, (3, 3), signed=True), train))
    assert found.count.shape == (0, 6, 3, 3)


def test_an_engine_keeps_layers_apart_and_runs_them_again() -> None:
    train = spikes_of((9, 2, 5, 3, 3), 1, False, seed=0)
    weights = [integers(-127, 127, 6, 5, 3, 3, seed=seed, dtype=torch.int8) for seed in (1, 2)]
    layers = {
        name: replace(plain_layer(w, (3, 3)), name=name)
        for name, w in zip("ab", weights, strict=True)
    }
    sources = {"s": source("s", train, 1, False)}
    engine = TritonEngine(IntegerProgram(layers, {}, sources))
    for layer in (*layers.values(), *layers.values()):
        compare(Case(layer, sources, {"s": train}), engine)


def test_wrong_arguments() -> None:
    train = spikes_of((9, 2, 5, 3, 3), 1, False, seed=0)
    program = case_of(plain_layer(torch.zeros(6, 5, 3, 3, dtype=torch.int8), (3, 3)), train).program
    with pytest.raises(ValueError, match="multiply must be one of 'int8', 'bf16', got 'int4'"):
        TritonEngine(program, multiply="int4")
    with pytest.raises(ValueError, match="spikes must be where it can run: it runs on CUDA"):
        TritonEngine(program).pack("s", train.to("meta"))


def test_without_the_interpreter_a_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    train = spikes_of((9, 2, 5, 3, 3), 1, False, seed=0)
    program = case_of(plain_layer(torch.zeros(6, 5, 3, 3, dtype=torch.int8), (3, 3)), train).program
    with pytest.raises(ValueError, match="TRITON_INTERPRET=1, for tests"):
        TritonEngine(program).pack("s", train)


@pytest.mark.gpu
def test_more_bytes_than_32_bits_count() -> None:
    assert DEVICE == "cuda", "a GPU is here, but TRITON_INTERPRET=1 is set"
    # 2^31 bytes of fields and more: the last images are compared, alone and among all others.
    few = spikes_of((8, 2, 16, 128, 128), 1, False, seed=0)
    weight = integers(-127, 127, 16, 16, 3, 3, seed=1, dtype=torch.int8)
    case = case_of(plain_layer(weight, (128, 128)), few)
    engine = TritonEngine(case.program)
    alone, _ = compare(case, engine)
    packed = engine.pack("s", few.cuda())
    many = replace(packed, data=packed.data.repeat(1, 4100, 1, 1, 1))
    fired = engine.run_layer(
        case.layer, {"s": many}, None, want_spikes=True, want_count=False, want_state=False
    )
    assert fired.spikes.data.numel() > 2**31
    assert torch.equal(fired.spikes.data[:, -2:], alone.spikes.data)
    assert torch.equal(fired.spikes.data[:, :2], alone.spikes.data)
