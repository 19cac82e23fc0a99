"""Laws of the neuron, on whatever inputs Hypothesis comes up with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from spikeconv import if_multistep
from tests.helpers import assert_same, emission, oracle, runnable
from tests.ops.cases import DTYPES, EMITS, bias_steps, check

# Eighths meet thresholds exactly, and sums of them are exact.
EIGHTHS = st.integers(-24, 24).map(lambda k: k / 8)
POSITIVE_EIGHTHS = st.integers(1, 16).map(lambda k: k / 8)
ANY_FLOAT = st.floats(width=32)

each_backend = pytest.mark.parametrize("backend", runnable())
some = settings(max_examples=40, deadline=None)


def tensors(
    shape: tuple[int, ...], elements: st.SearchStrategy[float]
) -> st.SearchStrategy[Tensor]:
    return hnp.arrays("float32", shape, elements=elements).map(torch.from_numpy)


@st.composite
def broadcasts(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts to `shape`."""
    kept = draw(st.integers(0, len(shape)))
    return tuple(draw(st.sampled_from((1, size))) for size in shape[len(shape) - kept :])


@st.composite
def biases(draw: st.DrawFn, T: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a bias: what broadcasts to `shape`, or time before as many dimensions."""
    if draw(st.booleans()):
        return draw(broadcasts(shape))
    return tuple(draw(st.sampled_from((1, size))) for size in (T, *shape))


@st.composite
def cases(
    draw: st.DrawFn,
    currents: st.SearchStrategy[float] = EIGHTHS,
    thresholds: st.SearchStrategy[float] = POSITIVE_EIGHTHS,
    max_T: int = 8,
) -> dict[str, Any]:
    """Arguments of `if_multistep` but for the form of its outputs; x has time."""
    T = draw(st.integers(1, max_T))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    signed = draw(st.booleans())
    return {
        "x": draw(tensors((T, *shape), currents)),
        "v_threshold": draw(tensors(draw(broadcasts(shape)), thresholds)),
        "v_init": draw(tensors(draw(broadcasts(shape)), currents)),
        "bias": draw(st.none() | tensors(draw(biases(T, shape)), currents)),
        "reset": draw(st.sampled_from(("soft", "hard"))),
        "v_reset": draw(EIGHTHS),
        "signed": signed,
        "fires": draw(st.sampled_from(("ge", "gt"))),
        "count_init": torch.tensor(draw(st.integers(-2, 2)), dtype=torch.int32) if signed else None,
    }


@each_backend
@some
@given(case=cases(), dtype=st.sampled_from(DTYPES), emit=st.sampled_from(EMITS))
def test_equals_the_oracle(
    backend: str, case: dict[str, Any], dtype: torch.dtype, emit: str
) -> None:
    if emit == "words":
        case |= {"signed": False, "count_init": None}
    case["x"] = case["x"].to(dtype)
    check(**case, backend=backend, emit=emit, return_v="all")


@pytest.mark.filterwarnings(
    "ignore:.* encountered in:RuntimeWarning"
)  # numpy, in interpreted Triton
@each_backend
@some
@given(
    case=cases(
        currents=EIGHTHS | ANY_FLOAT,
        thresholds=st.floats(0, exclude_min=True, allow_infinity=False, width=32),
    )
)
def test_equals_the_oracle_on_any_floats(backend: str, case: dict[str, Any]) -> None:
    check(**case, backend=backend, return_v="all")


@each_backend
@some
@given(case=cases())
def test_soft_reset_conserves_current(backend: str, case: dict[str, Any]) -> None:
    case["reset"] = "soft"
    count, v = if_multistep(**case, emit="count", backend=backend)
    assert v is not None
    bias = torch.tensor(0.0) if case["bias"] is None else case["bias"]
    received = (case["x"] + bias).sum(0)
    assert torch.equal(received, case["v_threshold"] * count + v - case["v_init"])


@each_backend
@some
@given(case=cases(currents=EIGHTHS | st.floats(-8, 8, width=32)), data=st.data())
def test_time_can_be_split(backend: str, case: dict[str, Any], data: st.DataObject) -> None:
    T = case["x"].shape[0]
    cut = data.draw(st.integers(1, T))
    whole, v_whole = if_multistep(**case, emit="uint8", backend=backend)
    x, bias = case["x"], case["bias"]
    head = {**case, "x": x[:cut], "bias": bias_steps(bias, x, slice(cut))}
    first, v = if_multistep(**head, emit="uint8", backend=backend)
    if cut < T:
        rest = {**case, "x": x[cut:], "bias": bias_steps(bias, x, slice(cut, None)), "v_init": v}
        if case["signed"]:
            rest["count_init"] = case["count_init"] + first.sum(0, dtype=torch.int32)
        second, v = if_multistep(**rest, emit="uint8", backend=backend)
        first = torch.cat((first, second))
    assert_same(first, whole)
    assert_same(v, v_whole)


@each_backend
@some
@given(case=cases(), dtype=st.sampled_from(DTYPES))
def test_forms_of_output_tell_the_same(
    backend: str, case: dict[str, Any], dtype: torch.dtype
) -> None:
    case["x"] = case["x"].to(dtype)
    signed, theta = case["signed"], case["v_threshold"]
    spikes, v = if_multistep(**case, backend=backend)
    for emit in EMITS if not signed else ("psp", "uint8", "count"):
        emitted, v_too = if_multistep(**case, emit=emit, backend=backend)
        assert_same(emitted, emission(spikes.to(torch.int8), emit, dtype, theta, signed), emit)
        assert_same(v_too, v, emit)
    _, trace = if_multistep(**case, return_v="all", backend=backend)
    assert trace is not None
    assert_same(trace[-1], v)


@each_backend
@some
@given(case=cases(max_T=12), dtype=st.sampled_from(DTYPES))
def test_static_input_is_expanded_input(
    backend: str, case: dict[str, Any], dtype: torch.dtype
) -> None:
    x = case.pop("x").to(dtype)
    T, current = len(x), x[0]
    static = if_multistep(current, T=T, **case, return_v="all", backend=backend)
    expanded = current.expand(T, *current.shape)
    for x in (expanded, expanded.contiguous()):
        for a, b in zip(
            static, if_multistep(x, **case, return_v="all", backend=backend), strict=True
        ):
            assert_same(a, b)


@each_backend
@some
@given(case=cases(currents=EIGHTHS | st.floats(-8, 8, width=32)), data=st.data())
def test_a_bias_that_is_the_same_at_every_step_needs_no_time(
    backend: str, case: dict[str, Any], data: st.DataObject
) -> None:
    x = case["x"]
    shape = data.draw(broadcasts(x.shape[1:]))
    case["bias"] = data.draw(tensors(shape, EIGHTHS))
    wanted = if_multistep(**case, return_v="all", backend=backend)
    once = case["bias"].view(1, *[1] * (x.dim() - 1 - len(shape)), *shape)
    expanded = once.expand(len(x), *once.shape[1:])
    for bias in (once, expanded, expanded.contiguous()):
        case["bias"] = bias
        for a, b in zip(if_multistep(**case, return_v="all", backend=backend), wanted, strict=True):
            assert_same(a, b)


@each_backend
@some
@given(case=cases())
def test_spikes_are_binary_and_signed_ones_never_owe(backend: str, case: dict[str, Any]) -> None:
    case["count_init"] = None
    spikes, _ = if_multistep(**case, backend=backend)
    allowed = {-1.0, 0.0, 1.0} if case["signed"] else {0.0, 1.0}
    assert set(spikes.flatten().tolist()) <= allowed
    assert (spikes.cumsum(0) >= 0).all()


@some
@given(case=cases())
def test_the_oracle_itself_conserves_current(case: dict[str, Any]) -> None:
    case["reset"] = "soft"
    spikes, trace = oracle(**case)
    bias = torch.tensor(0.0) if case["bias"] is None else case["bias"]
    received = (case["x"] + bias).sum(0)
    count = spikes.sum(0)
    assert torch.equal(received, case["v_threshold"] * count + trace[-1] - case["v_init"])
