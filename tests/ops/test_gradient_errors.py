"""What is wrong with a surrogate or a gradient is said by name, forward and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

from spikeconv import if_multistep
from spikeconv.surrogate import ATan
from tests.helpers import runnable
from tests.ops.cases import by_operator

OPERATOR = torch.ops.spikeconv.if_multistep


@pytest.mark.parametrize("call", [if_multistep, by_operator], ids=["function", "operator"])
def test_signed_neurons_have_no_surrogate(call: Any) -> None:
    surrogate = "atan" if call is by_operator else ATan()
    with pytest.raises(ValueError, match=r"^if_multistep: surrogate must be None with signed=True"):
        call(torch.ones(3, 4), signed=True, surrogate=surrogate)


@pytest.mark.parametrize("wants_gradient", [False, True])
def test_nor_have_they_one_of_the_users_own(wants_gradient: bool) -> None:
    x = torch.ones(3, 4, requires_grad=wants_gradient)
    with pytest.raises(ValueError, match=r"^if_multistep: surrogate must be None with signed=True"):
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


def test_there_are_no_derivatives_in_forward_mode_and_the_error_says_so() -> None:
    x = torch.ones(3, 4)
    wanted = r"if_multistep has no derivatives in forward mode.*torch\.autograd\.grad"
    for surrogate in (None, ATan()):
        with pytest.raises(RuntimeError, match=wanted):
            torch.func.jvp(lambda x: if_multistep(x, surrogate=surrogate), (x,), (x,))  # noqa: B023
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.ones(4), torch.ones(4))
        with pytest.raises(RuntimeError, match=wanted):
            if_multistep(x, v_threshold=dual)
        if_multistep(x)  # which depends on nothing that is derived
