"""The derivatives that stand in for that of a spike: formulas by hand, special values, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from spikeconv.surrogate import ATan, FromSpikeFunction, PiecewiseLinear, Sigmoid, Surrogate

NAN, INF = math.nan, math.inf
U = torch.cat((torch.linspace(-30, 30, 60_001), torch.logspace(-40, 2, 1000)))

# The functions whose derivatives they are.
STEPS = {
    Sigmoid(): lambda u: torch.sigmoid(4 * u),
    Sigmoid(1.5): lambda u: torch.sigmoid(1.5 * u),
    ATan(): lambda u: torch.atan(math.pi * u) / math.pi,
    ATan(0.5): lambda u: torch.atan(math.pi * 0.25 * u) / math.pi,
    PiecewiseLinear(): lambda u: u.clamp(-1, 1) * (1 - u.clamp(-1, 1).abs() / 2),
    PiecewiseLinear(4.0): lambda u: u.clamp(-4, 4) / 4 * (1 - u.clamp(-4, 4).abs() / 8),
}


@pytest.mark.parametrize("surrogate", STEPS, ids=str)
def test_the_derivative_of_a_smooth_step(surrogate: Surrogate) -> None:
    wide = U.double().requires_grad_()
    (wanted,) = torch.autograd.grad(STEPS[surrogate](wide).sum(), wide)
    torch.testing.assert_close(surrogate(wide.detach()), wanted, rtol=1e-12, atol=1e-15)
    # Near its foot the triangle is a difference of numbers near 1.
    torch.testing.assert_close(surrogate(U), wanted.float(), rtol=1e-6, atol=1e-7)


def test_by_hand() -> None:
    u = torch.tensor([0.0, 0.5, -0.5])
    assert PiecewiseLinear()(u).tolist() == [1.0, 0.5, 0.5]
    assert ATan(2.0)(u)[0].item() == 1.0
    assert Sigmoid(4.0)(u)[0].item() == 1.0
    # tanh(2u)' / 2 at 1/2: (1 - tanh(1)^2)
    torch.testing.assert_close(Sigmoid()(u)[1].item(), 1 - math.tanh(1) ** 2, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("surrogate", STEPS, ids=str)
def test_far_away_it_vanishes_and_nan_stays(surrogate: Surrogate, dtype: torch.dtype) -> None:
    h = surrogate(torch.tensor([INF, -INF, 3e38, -3e38, NAN], dtype=dtype))
    assert (h[:4] >= 0).all()
    assert (h[:4] < 1e-30).all()
    assert h[4].isnan()


def test_equal_ones_are_equal() -> None:
    assert Sigmoid() == Sigmoid(4.0) != ATan(4.0)


def test_a_spike_function_of_another_library() -> None:
    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, u: torch.Tensor) -> torch.Tensor:
            return (u >= 0).to(u.dtype)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * 0.25

    with torch.no_grad():
        h = FromSpikeFunction(Spike.apply)(torch.tensor([1.0, -1.0]))
    assert h.tolist() == [0.25, 0.25]
    assert not h.requires_grad


@pytest.mark.spikingjelly
def test_spikingjellys_derivatives() -> None:
    from spikingjelly.activation_based import surrogate as theirs

    for ours, function in (
        (Sigmoid(4.0), theirs.Sigmoid(4.0)),
        (Sigmoid(1.0), theirs.Sigmoid(1.0)),
        (ATan(2.0), theirs.ATan(2.0)),
        (ATan(5.0), theirs.ATan(5.0)),
        (PiecewiseLinear(1.0), theirs.PiecewiseQuadratic(1.0)),
        (PiecewiseLinear(0.5), theirs.PiecewiseQuadratic(2.0)),
    ):
        wanted = FromSpikeFunction(function)(U)
        torch.testing.assert_close(ours(U), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [Sigmoid, ATan, PiecewiseLinear])
@pytest.mark.parametrize("value", [0.0, -1.0, NAN, INF, 1e-30])
def test_a_steepness_that_is_not_positive(kind: Any, value: float) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__}: .* must be from 1e-18 to 1e18, got"):
        kind(value)
    with pytest.raises(TypeError, match=f"{kind.__name__}: .* must be a number, got str"):
        kind("2")


def test_errors_of_ones_own() -> None:
    with pytest.raises(TypeError, match="FromSpikeFunction: function must be callable, got float"):
        FromSpikeFunction(1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"spikes of shape \[2\] that have a gradient, got shape"):
        FromSpikeFunction(lambda u: torch.ones(2))(torch.zeros(2))
    with pytest.raises(NotImplementedError, match=r"Surrogate must define derivative\(u\)"):
        Surrogate()(torch.zeros(2))
