"""Every backend gives the reference's gradients, bit for bit, wherever operands lie in memory."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeconv import if_multistep
from spikeconv.surrogate import ATan, PiecewiseLinear, Sigmoid
from tests.helpers import assert_same, runnable
from tests.ops.cases import DTYPES, LAYOUTS, currents, thresholds
from tests.ops.gradient_cases import (
    BIASES,
    SURROGATES,
    check_backends,
    gradient,
    option_grid,
    random_case,
    rearranged,
)
from tests.ops.test_properties import biases, broadcasts, tensors

others = pytest.mark.parametrize("backend", [name for name in runnable() if name != "reference"])


@others
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_options_together(dtype: torch.dtype, backend: str) -> None:
    # Of the 2304 combinations as many as there is time for, others for each dtype.
    draw = random.Random(str(dtype))
    combinations = list(product(option_grid(), BIASES, (False, True)))
    for options, bias, static in draw.sample(combinations, 30 if backend == "triton" else 150):
        shape = (draw.randint(1, 9), 2, 5, 3, 11)
        case = random_case(bias=bias, static=static, dtype=dtype, shape=shape, **options)
        check_backends(case, backend)


@others
def test_each_option_alone(backend: str) -> None:
    plain: dict[str, Any] = {"surrogate": ATan(), "return_v": None}
    for changes in (
        *({"surrogate": surrogate} for surrogate in SURROGATES.values()),
        *({"return_v": return_v} for return_v in ("last", "all")),
        {"reset": "hard", "v_reset": -0.125},
        {"fires": "gt"},
        {"emit": "psp"},
        {"detach_reset": True},
        {"bias": "same"},
        {"bias": "timed"},
        {"static": True},
    ):
        check_backends(random_case(**{**plain, **changes}), backend)


@others
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout: str, backend: str) -> None:
    move = LAYOUTS[layout]
    for dtype in (torch.float32, torch.bfloat16):
        for static in (False, True):
            case = random_case(
                bias="timed",
                static=static,
                dtype=dtype,
                surrogate=ATan(),
                emit="psp",
                return_v="all",
            )
            check_backends(rearranged(case, x=move), backend)
            check_backends(rearranged(case, v_threshold=move, v_init=move, bias=move), backend)
            check_backends(rearranged(case, grad_emitted=move, grad_v=move), backend)


@others
def test_gradients_that_are_one_number_for_all(backend: str) -> None:
    # What sum() hands back: strides of 0.
    case = random_case(surrogate=Sigmoid(), return_v="all")
    one = torch.tensor(0.5)
    assert case.grad_emitted is not None and case.grad_v is not None
    expanded = one.expand(case.grad_emitted.shape)
    check_backends(replace(case, grad_emitted=expanded, grad_v=expanded), backend)
    check_backends(replace(case, grad_emitted=expanded, grad_v=None), backend)
    check_backends(replace(case, grad_emitted=None), backend)


# Over the edges of vectors, of tiles and of Triton's programs, and of segments of time.
@others
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 63, 64, 65, 511, 513, 1003])
@pytest.mark.parametrize("T", [1, 3, 4, 5, 8, 9])
def test_every_size(T: int, size: int, backend: str) -> None:
    theta, v_init = thresholds(size), currents(size, seed=2)
    for surrogate, dtype in ((PiecewiseLinear(), torch.float32), (Sigmoid(), torch.float16)):
        x = currents(T, size, dtype=dtype)
        check_backends(gradient(x, theta, v_init, None, surrogate=surrogate), backend)


@others
def test_many_steps(backend: str) -> None:
    x = currents(67, 3, 41)
    for bias in (currents(1, seed=3) / 8, currents(67, 1, 41, seed=3) / 8):
        case = gradient(x, thresholds(3, 1), currents(41, seed=2), bias, surrogate=ATan())
        check_backends(case, backend)
        check_backends(rearranged(case, x=LAYOUTS["every_other"]), backend)


@others
@pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # numpy, in Triton's
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_nan_and_infinity(surrogate: str, backend: str) -> None:
    values = torch.tensor([0.5, math.nan, math.inf, -math.inf, 3e38, 1e-40, -0.0])
    x = torch.cartesian_prod(values, values, values).T.contiguous()
    for reset in ("soft", "hard"):
        case = gradient(
            x,
            torch.tensor(0.75),
            torch.tensor(0.0),
            None,
            surrogate=SURROGATES[surrogate],
            reset=reset,
        )
        check_backends(case, backend)
        grads = values.repeat(x[0].numel() // len(values)).expand(x.shape)
        check_backends(replace(case, x=torch.ones_like(x), grad_emitted=grads), backend)


@others
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # numpy, in Triton's
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_gradients_of_16_bits_are_rounded_once(dtype: torch.dtype, backend: str) -> None:
    # No way through spikes: the gradient of m is that of v.
    step = torch.finfo(dtype).eps
    for value in (1 + step / 2, 1 + 1.5 * step, 1e-7, 65519.0, 3e38, 1e-40):
        x = torch.ones(1, 1, dtype=dtype, requires_grad=True)
        _, v = if_multistep(x, 2.0, surrogate=torch.zeros_like, detach_reset=True, backend=backend)
        assert v is not None
        (got,) = torch.autograd.grad(v, x, torch.tensor([value]))
        assert_same(got, torch.tensor([[value]]).to(dtype), f"{value}")


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_16_bits_have_the_gradients_of_float32(dtype: torch.dtype, backend: str) -> None:
    # The membrane and what goes back through it is float32: only the ends are rounded.
    case = random_case(dtype=dtype, bias="same", surrogate=ATan(), emit="spikes", return_v="last")
    assert case.grad_emitted is not None
    wide = replace(case, x=case.x.float(), grad_emitted=case.grad_emitted.float())
    got, wanted = case.backward(backend), wide.backward("reference")
    assert_same(got[0], wanted[0].to(dtype))
    for a, b in zip(got[1:], wanted[1:], strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same(threads: int) -> None:
    # A threshold and a bias for all, of more neurons than one thread takes.
    x = currents(4, 7, 40_003)
    operands = (torch.tensor(0.75), currents(7, 1, seed=2), torch.tensor(0.125))
    case = gradient(x, *operands, surrogate=ATan())
    before = torch.get_num_threads()
    wanted = case.backward(None)
    torch.set_num_threads(threads)
    try:
        got = case.backward(None)
    finally:
        torch.set_num_threads(before)
    for a, b in zip(got, wanted, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("static", [False, True], ids=["timed", "static"])
@pytest.mark.parametrize("bias", ["same", "timed"])
def test_each_gradient_alone(bias: str, static: bool) -> None:
    case = random_case(bias=bias, static=static, surrogate=ATan(), return_v="last")
    wanted = case.backward(None)
    for i in range(4):
        operands = [operand.detach() for operand in case.operands()]
        operands[i].requires_grad_()
        emitted, v = if_multistep(*operands, **case.options)
        outputs, grads = (emitted, v), (case.grad_emitted, case.grad_v)
        (got,) = torch.autograd.grad(outputs, operands[i], grads)
        assert_same(got, wanted[i])


def test_parameters_of_other_dtypes_have_gradients_of_theirs() -> None:
    x = currents(4, 3, dtype=torch.bfloat16)
    theta = torch.tensor(0.75, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.bfloat16, requires_grad=True)
    spikes, _ = if_multistep(x, theta, 0.0, bias, surrogate=ATan())
    spikes.sum().backward()
    assert theta.grad is not None and bias.grad is not None
    assert (theta.grad.dtype, bias.grad.dtype) == (torch.float64, torch.bfloat16)


FLOATS = st.integers(-24, 24).map(lambda k: k / 8) | st.floats(-8, 8, width=32)


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `gradient`: any shapes, options, surrogates and memory layouts."""
    T = draw(st.integers(1, 9))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    static = draw(st.booleans())
    x = draw(tensors(shape if static else (T, *shape), FLOATS))
    surrogate: Any = draw(
        st.sampled_from(list(SURROGATES.values()))
        | st.builds(Sigmoid, st.floats(0.1, 50))
        | st.builds(ATan, st.floats(0.1, 50))
        | st.builds(PiecewiseLinear, st.floats(0.1, 50))
    )
    return {
        "x": draw(st.sampled_from(list(LAYOUTS.values())))(x) if x.dim() > 2 else x,
        "v_threshold": draw(
            tensors(draw(broadcasts(shape)), st.integers(1, 16).map(lambda k: k / 8))
        ),
        "v_init": draw(tensors(draw(broadcasts(shape)), FLOATS)),
        "bias": draw(st.none() | tensors(draw(biases(T, shape)), FLOATS)),
        "T": T if static else None,
        "surrogate": surrogate,
        "reset": draw(st.sampled_from(("soft", "hard"))),
        "v_reset": draw(FLOATS),
        "fires": draw(st.sampled_from(("ge", "gt"))),
        "detach_reset": draw(st.booleans()),
        "emit": draw(st.sampled_from(("spikes", "psp"))),
        "return_v": draw(st.sampled_from((None, "last", "all"))),
    }


@others
@settings(max_examples=60, deadline=None)
@given(call=calls(), dtype=st.sampled_from(DTYPES))
def test_any_call(backend: str, call: dict[str, Any], dtype: torch.dtype) -> None:
    call["x"] = call["x"].to(dtype)
    check_backends(gradient(**call), backend)


@settings(max_examples=60, deadline=None)
@given(call=calls())
def test_static_currents_add_up_the_gradients_of_their_steps(call: dict[str, Any]) -> None:
    if call["T"] is None or call["x"].numel() == 0:
        return
    static = gradient(**call)
    expanded = replace(
        static,
        x=static.x.expand(call["T"], *static.x.shape).contiguous(),
        options={**static.options, "T": None},
    )
    got, wanted = static.backward(None), expanded.backward(None)
    of_x: Tensor = torch.zeros_like(static.x, dtype=torch.float32)
    for step in reversed(wanted[0]):
        of_x = of_x + step
    assert_same(got[0], of_x)
    for a, b in zip(got[1:], wanted[1:], strict=True):
        assert_same(a, b)
