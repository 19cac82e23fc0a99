"""Wrong arguments raise and name the argument, from the function and from the operator alike."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikeconv import if_multistep
from spikeconv.surrogate import ATan
from tests.helpers import assert_same, runnable

OPERATOR = torch.ops.spikeconv.if_multistep

INT32 = torch.int32


def by_operator(x: Tensor, **arguments: Any) -> Any:
    """The operator itself, which takes tensors where the function takes numbers too."""
    parameters = {"v_threshold": 1.0, "v_init": 0.0, "bias": None, "count_init": None}
    positional = []
    for name, default in parameters.items():
        value = arguments.pop(name, default)
        positional.append(value if value is None else torch.as_tensor(value))
    return OPERATOR(x, *positional, **arguments)


# Given x [3, 2, 4] unless x is among the arguments: arguments, error, what the message must say.
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "x_integer": ({"x": torch.ones(3, 4, dtype=INT32)}, TypeError, "x must be a float32, .*int32"),
    "x_complex": ({"x": torch.ones(3, 4) * 1j}, TypeError, "x must be .*complex64"),
    "x_bool": ({"x": torch.ones(3, 4) > 0}, TypeError, "x must be .*torch.bool"),
    "x_sparse": ({"x": torch.ones(3, 4).to_sparse()}, TypeError, "x must be a dense .*sparse_coo"),
    "x_without_time": ({"x": torch.tensor(1.0)}, ValueError, r"x must be \[T, \*\], or \[\*\]"),
    "x_of_no_steps": ({"x": torch.ones(0, 4)}, ValueError, r"x must be .*T >= 1, got shape \[0, 4"),
    "T_zero": ({"T": 0}, ValueError, "T must be an integer >= 1, got 0"),
    "T_negative": ({"T": -3}, ValueError, "T must be an integer >= 1, got -3"),
    "T_too_long_for_words": (
        {"T": 33, "emit": "words"},
        ValueError,
        "T must be at most 32 with emit='words' .*got 33",
    ),
    "x_too_long_for_words": (
        {"x": torch.ones(33, 2), "emit": "words"},
        ValueError,
        "at most 32 with emit='words' .*got 33",
    ),
    "threshold_zero": ({"v_threshold": 0.0}, ValueError, "v_threshold must be positive.*got 0.0"),
    "threshold_negative": ({"v_threshold": -1.5}, ValueError, "v_threshold must be.*got -1.5"),
    "threshold_nan": ({"v_threshold": math.nan}, ValueError, "v_threshold must be.*got nan"),
    "threshold_inf": ({"v_threshold": math.inf}, ValueError, "v_threshold must be.*got inf"),
    "threshold_one_of_many": (
        {"v_threshold": torch.tensor([1.0, 1.0, -2.0, 1.0])},
        ValueError,
        "v_threshold must be positive and finite everywhere, got -2.0",
    ),
    "threshold_vanishes_in_float32": (
        {"v_threshold": torch.tensor(1e-300, dtype=torch.float64)},
        ValueError,
        "v_threshold must be",
    ),
    "threshold_overflows_in_float32": (
        {"v_threshold": torch.tensor(1e300, dtype=torch.float64)},
        ValueError,
        "v_threshold must be",
    ),
    "threshold_integer": (
        {"v_threshold": torch.tensor([1, 2, 3, 4])},
        TypeError,
        "v_threshold must be a floating-point tensor, got torch.int64",
    ),
    "threshold_sparse": (
        {"v_threshold": torch.ones(4).to_sparse()},
        TypeError,
        "v_threshold must be a dense .*sparse_coo",
    ),
    "threshold_shape": (
        {"v_threshold": torch.ones(3)},
        ValueError,
        r"v_threshold must be .*broadcasts to the neurons' shape \[2, 4\], got shape \[3\]",
    ),
    "threshold_shape_of_x": (
        {"v_threshold": torch.ones(3, 2, 4)},
        ValueError,
        r"v_threshold must be .*\[2, 4\], got shape \[3, 2, 4\]",
    ),
    "threshold_too_many_dimensions": (
        {"v_threshold": torch.ones(1, 1, 4)},
        ValueError,
        r"v_threshold must be .*got shape \[1, 1, 4\]",
    ),
    "threshold_larger_than_x": (
        {"x": torch.ones(3, 1), "v_threshold": torch.ones(4)},
        ValueError,
        r"v_threshold must be .*shape \[1\], got shape \[4\]",
    ),
    "threshold_device": (
        {"v_threshold": torch.ones(4, device="meta")},
        ValueError,
        "v_threshold must be on x's device cpu, got meta",
    ),
    "init_shape": ({"v_init": torch.ones(2, 1, 4)}, ValueError, r"v_init must be .*\[2, 1, 4\]"),
    "init_integer": ({"v_init": torch.tensor([0])}, TypeError, "v_init must be .*int64"),
    "init_device": ({"v_init": torch.ones((), device="meta")}, ValueError, "v_init must be on x's"),
    "bias_shape": ({"bias": torch.ones(5, 1)}, ValueError, r"bias must be .*got shape \[5, 1\]"),
    "bias_of_other_steps": (
        {"bias": torch.ones(2, 1, 4)},
        ValueError,
        r"bias must be of 3 time-steps, or 1, in dimension 0 .*got shape \[2, 1, 4\]",
    ),
    "bias_of_other_steps_static": (
        {"x": torch.ones(2, 4), "T": 5, "bias": torch.ones(4, 1, 1)},
        ValueError,
        r"bias must be of 5 time-steps, or 1, .*got shape \[4, 1, 1\]",
    ),
    "bias_of_no_steps": (
        {"bias": torch.ones(0, 1, 4)},
        ValueError,
        r"bias must be of 3 time-steps, or 1, .*got shape \[0, 1, 4\]",
    ),
    "bias_of_steps_and_other_neurons": (
        {"bias": torch.ones(3, 2, 3)},
        ValueError,
        r"bias must be \[T, \*\] with \* broadcasting to .* \[2, 4\], got shape \[3, 2, 3\]",
    ),
    "bias_too_many_dimensions": (
        {"bias": torch.ones(3, 1, 1, 1)},
        ValueError,
        r"bias must be .*\[2, 4\].*got shape \[3, 1, 1, 1\]",
    ),
    "bias_of_steps_integer": (
        {"bias": torch.ones(3, 1, 1, dtype=INT32)},
        TypeError,
        "bias must be a floating-point tensor, got torch.int32",
    ),
    "bias_of_steps_device": (
        {"bias": torch.ones(3, 1, 1, device="meta")},
        ValueError,
        "bias must be on x's device cpu, got meta",
    ),
    "bias_of_steps_sparse": (
        {"bias": torch.ones(3, 1, 1).to_sparse()},
        TypeError,
        "bias must be a dense",
    ),
    "bias_bool": ({"bias": torch.tensor(True)}, TypeError, "bias must be .*torch.bool"),
    "bias_sparse": ({"bias": torch.ones(4).to_sparse()}, TypeError, "bias must be a dense"),
    "count_without_signed": (
        {"count_init": torch.ones(4, dtype=INT32)},
        ValueError,
        "count_init must be None unless signed=True",
    ),
    "count_float": (
        {"count_init": torch.ones(4), "signed": True},
        TypeError,
        "count_init must be an int32 tensor, got torch.float32",
    ),
    "count_int64": (
        {"count_init": torch.ones(4, dtype=torch.int64), "signed": True},
        TypeError,
        "count_init must be an int32 tensor, got torch.int64",
    ),
    "count_shape": (
        {"count_init": torch.ones(3, dtype=INT32), "signed": True},
        ValueError,
        r"count_init must be .*got shape \[3\]",
    ),
    "count_sparse": (
        {"count_init": torch.ones(4, dtype=INT32).to_sparse(), "signed": True},
        TypeError,
        "count_init must be a dense",
    ),
    "reset_unknown": (
        {"reset": "subtract"},
        ValueError,
        "reset must be one of 'soft', 'hard'",
    ),
    "fires_unknown": (
        {"fires": ">="},
        ValueError,
        "fires must be one of 'ge', 'gt', got '>='",
    ),
    "emit_unknown": ({"emit": "bits"}, ValueError, "emit must be one of 'spikes', .*got 'bits'"),
    "return_v_unknown": (
        {"return_v": "first"},
        ValueError,
        "return_v must be one .*'first'",
    ),
    "words_signed": (
        {"emit": "words", "signed": True},
        ValueError,
        "emit must be .* with signed=True, got 'words'",
    ),
    "v_reset_nan": ({"v_reset": math.nan}, ValueError, "v_reset must be finite .*got nan"),
    "v_reset_inf": ({"v_reset": -math.inf}, ValueError, "v_reset must be finite .*got -inf"),
    "v_reset_too_large": ({"v_reset": 1e39}, ValueError, "v_reset must be finite in torch.float32"),
    "backend_unknown": (
        {"backend": "opencl"},
        ValueError,
        "backend must be one of 'reference', .*'cuda' or None, got 'opencl'",
    ),
    "backend_empty": ({"backend": ""}, ValueError, "backend must be one of .*got ''"),
}


@pytest.mark.parametrize("call", [if_multistep, by_operator], ids=["function", "operator"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_argument(name: str, call: Any) -> None:
    arguments, error, message = WRONG[name]
    with pytest.raises(error, match=f"if_multistep: .*{message}"):
        call(**{"x": torch.ones(3, 2, 4), **arguments})


# What the operator's schema does not let through, or cannot be said to it.
WRONG_TYPES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "x_list": ({"x": [[1.0]]}, TypeError, "x must be a tensor, got list"),
    "x_numpy": ({"x": np.ones((3, 4))}, TypeError, "x must be a tensor, got ndarray"),
    "x_none": ({"x": None}, TypeError, "x must be a tensor, got NoneType"),
    "T_float": ({"T": 4.0}, TypeError, "T must be an integer or None, got float"),
    "T_bool": ({"T": True}, TypeError, "T must be an integer or None, got bool"),
    "T_string": ({"T": "4"}, TypeError, "T must be an integer or None, got str"),
    "T_huge": ({"T": 2**70}, ValueError, "T must be an integer of 64 bits"),
    "threshold_string": ({"v_threshold": "1"}, TypeError, "v_threshold must be a number.*got str"),
    "threshold_none": ({"v_threshold": None}, TypeError, "v_threshold must be .*got NoneType"),
    "threshold_bool": ({"v_threshold": True}, TypeError, "v_threshold must be .*got bool"),
    "threshold_list": ({"v_threshold": [1.0]}, TypeError, "v_threshold must be .*got list"),
    "threshold_numpy": ({"v_threshold": np.ones(4)}, TypeError, "v_threshold must be .*ndarray"),
    "threshold_complex": ({"v_threshold": 1j}, TypeError, "v_threshold must be .*got complex"),
    "threshold_too_large": ({"v_threshold": 1e39}, ValueError, "v_threshold must be finite"),
    "threshold_huge": ({"v_threshold": 10**400}, ValueError, "v_threshold must be finite"),
    "init_nan": ({"v_init": math.nan}, ValueError, "v_init must be finite .*got nan"),
    "init_string": ({"v_init": "half"}, TypeError, "v_init must be a number.*got str"),
    "bias_inf": ({"bias": math.inf}, ValueError, "bias must be finite .*got inf"),
    "reset_none": ({"reset": None}, TypeError, "reset must be a string, got NoneType"),
    "fires_none": ({"fires": None}, TypeError, "fires must be a string, got NoneType"),
    "emit_none": ({"emit": None}, TypeError, "emit must be a string, got NoneType"),
    "return_v_bool": ({"return_v": True}, TypeError, "return_v must be a string or None, got bool"),
    "backend_module": ({"backend": torch}, TypeError, "backend must be a string or None, got mod"),
    "surrogate_string": ({"surrogate": "atan"}, TypeError, "surrogate must be one of .*got str"),
    "surrogate_module": (
        {"surrogate": torch.nn.Sigmoid()},
        TypeError,
        "surrogate must return a derivative, got a torch.nn.Module.*FromSpikeFunction",
    ),
    "detach_int": ({"detach_reset": 1}, TypeError, "detach_reset must be True or False, got 1"),
    "signed_int": ({"signed": 1}, TypeError, "signed must be True or False, got 1"),
    "v_reset_none": ({"v_reset": None}, TypeError, "v_reset must be a number, got NoneType"),
    "v_reset_bool": ({"v_reset": False}, TypeError, "v_reset must be a number, got bool"),
    "v_reset_huge": ({"v_reset": -(10**400)}, ValueError, "v_reset must be finite"),
    "count_number": (
        {"count_init": 3, "signed": True},
        TypeError,
        "count_init must be a tensor",
    ),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_wrong_type(name: str) -> None:
    arguments, error, message = WRONG_TYPES[name]
    with pytest.raises(error, match=f"if_multistep: .*{message}"):
        if_multistep(**{"x": torch.ones(3, 2, 4), **arguments})


@pytest.mark.parametrize(
    ("argument", "value"),
    [("T", "4"), ("T", 4.0), ("reset", 1), ("signed", "yes"), ("emit", None), ("v_reset", "0")],
)
def test_the_schema_names_an_argument_of_the_wrong_type(argument: str, value: object) -> None:
    with pytest.raises(RuntimeError, match=f"if_multistep.*'{argument}'"):
        by_operator(torch.ones(3, 4), **{argument: value})


@pytest.mark.parametrize("backend", runnable())
def test_every_backend_is_behind_the_checks(backend: str) -> None:
    with pytest.raises(ValueError, match="v_threshold"):
        if_multistep(torch.ones(3, 4), torch.ones(5), backend=backend)
    with pytest.raises(ValueError, match="v_init"):
        OPERATOR(torch.ones(3, 4), torch.ones(()), torch.ones(2, 4), backend=backend)
    with pytest.raises(ValueError, match="v_threshold must be positive"):
        OPERATOR(torch.ones(3, 4), torch.zeros(()), torch.zeros(()), backend=backend)


def test_numbers_of_every_kind_are_welcome() -> None:
    x = torch.ones(3, 4)
    wanted = if_multistep(x, 0.5, 0.25)
    kinds: list[tuple[Any, Any]] = [
        (np.float32(0.5), np.float64(0.25)),
        (Fraction(1, 2), Fraction(1, 4)),
        (torch.tensor(0.5), torch.tensor(0.25, dtype=torch.float16)),
        (torch.nn.Parameter(torch.tensor([0.5])), torch.tensor([0.25])),
    ]
    for half, quarter in kinds:
        for a, b in zip(if_multistep(x, half, quarter), wanted, strict=True):
            assert_same(a, b)
    assert torch.equal(if_multistep(x, 1)[0], if_multistep(x, 1.0)[0])


@pytest.mark.parametrize("call", [if_multistep, by_operator], ids=["function", "operator"])
def test_signed_neurons_have_no_surrogate(call: Any) -> None:
    surrogate = "atan" if call is by_operator else ATan()
    with pytest.raises(ValueError, match="^if_multistep: surrogate must be None with signed=True"):
        call(torch.ones(3, 4), signed=True, surrogate=surrogate)


@pytest.mark.parametrize("wants_gradient", [False, True])
def test_nor_have_they_one_of_the_users_own(wants_gradient: bool) -> None:
    x = torch.ones(3, 4, requires_grad=wants_gradient)
    with pytest.raises(ValueError, match="^if_multistep: surrogate must be None with signed=True"):
        if_multistep(x, signed=True, surrogate=lambda _: pytest.fail("it was called"))


# What the operator is told of a surrogate, and what must be said of it.
WRONG_SURROGATES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "unknown": ({"surrogate": "tanh"}, ValueError, "surrogate must be one of 'sigmoid', .*'tanh'"),
    "no_slope": (
        {"surrogate": "given"},
        ValueError,
        "slope must be a tensor with surrogate='given",
    ),
    "slope_beside": (
        {"surrogate": "atan", "slope": torch.ones(3, 4)},
        ValueError,
        "slope must be a tensor with surrogate='given', else None, got a tensor",
    ),
    "slope_shape": (
        {"surrogate": "given", "slope": torch.ones(4)},
        ValueError,
        r"slope must be of shape \[3, 4\], got shape \[4\]",
    ),
    "slope_dtype": (
        {"surrogate": "given", "slope": torch.ones(3, 4, dtype=torch.float16)},
        TypeError,
        "slope must be a torch.float32 tensor, got torch.float16",
    ),
    "slope_device": (
        {"surrogate": "given", "slope": torch.ones(3, 4, device="meta")},
        ValueError,
        "slope must be dense .* on x's device cpu, got torch.strided on meta",
    ),
}


@pytest.mark.parametrize("name", WRONG_SURROGATES)
def test_what_the_operator_is_told_of_a_surrogate(name: str) -> None:
    arguments, error, message = WRONG_SURROGATES[name]
    x, one = torch.ones(3, 4), torch.ones(())
    slope = arguments.get("slope")
    with pytest.raises(error, match=message):
        OPERATOR(x, one, one, None, None, slope, surrogate=arguments["surrogate"])


def test_a_steepness_out_of_range_is_an_error_of_the_backward_pass() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    spikes, _ = OPERATOR(x, *torch.ones(2), surrogate="atan", surrogate_parameter=-1.0)
    with pytest.raises(ValueError, match="ATan: alpha must be from 1e-18 to 1e18, got -1"):
        torch.autograd.backward(spikes.sum())


@pytest.mark.parametrize(
    ("surrogate", "error", "message"),
    [
        (lambda u: u.sum(), ValueError, r"surrogate must return a tensor of shape \[3, 4\].*\[\]"),
        (lambda u: u[0], ValueError, r"surrogate must return a tensor of shape \[3, 4\].*\[4\]"),
        (lambda u: u > 0, TypeError, "must return a floating-point tensor, got torch.bool"),
        (lambda u: 1.0, TypeError, "must return a floating-point tensor, got float"),
        (lambda u: u.to("meta"), ValueError, "on cpu, got shape .* on meta"),
    ],
)
def test_what_a_function_may_not_return_as_a_surrogate(
    surrogate: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"if_multistep: .*{message}"):
        if_multistep(torch.ones(3, 4, requires_grad=True), surrogate=surrogate)


# Given x [3, 4] and gradients of its spikes and of v: what is wrong, and what must be said.
WRONG_GRADIENTS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "shape": ({"grad_emitted": torch.ones(4)}, ValueError, r"grad_emitted must be of shape \[3, 4"),
    "dtype": ({"grad_emitted": torch.ones(3, 4).double()}, TypeError, "grad_emitted must be a "),
    "shape_of_v": ({"grad_v": torch.ones(3, 4)}, ValueError, r"grad_v must be of shape \[4\]"),
    "sparse": ({"grad_v": torch.ones(4).to_sparse()}, ValueError, "grad_v must be dense"),
    "wanted": ({"wanted": [True]}, ValueError, r"wanted must have 4 entries, got \[True\]"),
    "threshold": ({"v_threshold": torch.ones(3)}, ValueError, "v_threshold must be a number or"),
    "surrogate": ({"surrogate": "tanh"}, ValueError, "surrogate must be one of"),
    "reset": ({"reset": "none"}, ValueError, "reset must be one of"),
}


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("name", WRONG_GRADIENTS)
def test_nonsense_to_the_backward_operator(name: str, backend: str) -> None:
    changes, error, message = WRONG_GRADIENTS[name]
    arguments: dict[str, Any] = {
        "grad_emitted": torch.ones(3, 4),
        "grad_v": torch.ones(4),
        "x": torch.ones(3, 4),
        "v_threshold": torch.ones(()),
        "v_init": torch.zeros(()),
        "bias": None,
        "slope": None,
        "T": None,
        "reset": "soft",
        "v_reset": 0.0,
        "fires": "ge",
        "emit": "spikes",
        "return_v": "last",
        "surrogate": "atan",
        "surrogate_parameter": 2.0,
        "detach_reset": False,
        "wanted": [True] * 4,
        "backend": backend,
    }
    operator = torch.ops.spikeconv.if_multistep_backward
    assert len(operator(**arguments)) == 4
    with pytest.raises(error, match=f"if_multistep: {message}"):
        operator(**{**arguments, **changes})


def test_there_is_no_second_gradient_and_the_error_says_so() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    spikes, _ = if_multistep(x, surrogate=ATan())
    (grad,) = torch.autograd.grad(spikes.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"if_multistep has no second gradient.*create_graph"):
        torch.autograd.backward(grad.sum())


def test_there_is_no_gradient_without_a_surrogate_and_the_error_says_so() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    for emit in ("spikes", "psp"):
        emitted, _ = if_multistep(x, emit=emit)
        with pytest.raises(RuntimeError, match=r"if_multistep has no gradient.*ATan.*no_grad"):
            torch.autograd.backward(emitted.sum())
    with torch.no_grad():
        assert not if_multistep(x)[0].requires_grad


def test_a_bad_threshold_among_many_is_found_whenever_it_comes() -> None:
    theta = torch.ones(4096)
    x = torch.ones(2, 64, 64)
    for _ in range(2):  # what was read once is not read again
        if_multistep(x, theta.view(64, 64))
    theta[70] = -1.0
    for bad in (theta.view(64, 64), theta.view(64, 64)[1:2]):
        with pytest.raises(ValueError, match=r"v_threshold must be positive.*got -1\.0"):
            if_multistep(x, bad)
    if_multistep(x, theta.view(64, 64)[:1])
    with pytest.raises(ValueError, match=r"v_threshold must be positive.*got -1\.0"):
        if_multistep(x, theta.view(64, 64))
    theta[70] = 1.0
    if_multistep(x, theta.view(64, 64))
