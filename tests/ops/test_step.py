"""if_step: one step of the operator in plain torch, with the operator's results."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeconv import if_multistep
from spikeconv.ops import step
from spikeconv.ops.step import if_step, one_step
from spikeconv.surrogate import ATan, FromSpikeFunction, PiecewiseLinear, Sigmoid
from tests.helpers import assert_same
from tests.ops.cases import currents, thresholds

OPTIONS = list(itertools.product((None, 0.0, -0.5, 0.25), ("ge", "gt")))


def by_operator(x: Tensor, v: Any, theta: Tensor, bias: Tensor | None, **options: Any) -> Any:
    v_reset = options.pop("v_reset")
    hard = {"reset": "soft"} if v_reset is None else {"reset": "hard", "v_reset": v_reset}
    spikes, after = if_multistep(x, theta, v, bias, T=1, **hard, **options)
    return spikes[0], after


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("v_reset", "fires"), OPTIONS)
def test_it_equals_the_operator(v_reset: float | None, fires: str, dtype: torch.dtype) -> None:
    x, v = currents(3, 5, 7, dtype=dtype), currents(3, 5, 7, seed=4)
    for theta, start, bias in (
        (torch.tensor(1.0), 0.5, None),
        (thresholds(5, 1), v, currents(5, 1, seed=5)),
        (thresholds(5, 1).to(dtype), v, None),
    ):
        options = {"v_reset": v_reset, "fires": fires}
        wanted = by_operator(x, start, theta, bias, **options)
        for got, want in zip(if_step(x, start, theta, bias, **options), wanted, strict=True):
            assert torch.equal(got, want)
            assert got.dtype == want.dtype


@pytest.mark.parametrize(("v_reset", "fires"), OPTIONS)
def test_what_is_not_finite_goes_the_operators_way(v_reset: float | None, fires: str) -> None:
    x = torch.tensor([math.inf, -math.inf, math.nan, 3.0, 1.0])
    for surrogate in (None, Sigmoid(), ATan()):
        options = {"v_reset": v_reset, "fires": fires}
        wanted = by_operator(x, 0.0, torch.tensor(1.0), None, **options)
        got = if_step(x, 0.0, torch.tensor(1.0), None, surrogate=surrogate, **options)
        for mine, want in zip(got, wanted, strict=True):
            assert_same(mine.detach(), want)


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize(
    "surrogate",
    [Sigmoid(3.0), ATan(), PiecewiseLinear(0.5), FromSpikeFunction(torch.sigmoid)],
    ids=lambda surrogate: type(surrogate).__name__,
)
@pytest.mark.parametrize(("v_reset", "fires"), OPTIONS)
def test_its_gradients_are_the_operators(
    v_reset: float | None, fires: str, surrogate: Any, detach_reset: bool
) -> None:
    leaves = [currents(4, 5, 3), currents(4, 5, 3, seed=4), thresholds(5, 1), currents(5, 1)]
    weights = torch.randn(2, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    gradients = []
    for function in (by_operator, if_step):
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        spikes, v = function(
            *own, v_reset=v_reset, fires=fires, surrogate=surrogate, detach_reset=detach_reset
        )
        (weights[0] * spikes + weights[1] * v).sum().backward()
        gradients.append([leaf.grad for leaf in own])
    for mine, want in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(mine, want, rtol=1e-5, atol=1e-6)


def test_large_calls_and_wrong_ones_are_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(step, "if_step", lambda *a, **k: taken.append(a) or if_step(*a, **k))
    theta = torch.tensor(1.0)
    small, large = torch.ones(step.MAX_NEURONS), torch.ones(step.MAX_NEURONS + 1)
    for x, calls in ((small, 1), (large, 1)):
        spikes, v = one_step(x, 0.5, theta)
        assert len(taken) == calls
        assert_same(spikes, x)
        assert_same(v, x / 2)
    with pytest.raises(ValueError, match="v_init must be a number or a tensor that broadcasts"):
        one_step(torch.ones(3), torch.ones(2, 3), theta)
    with pytest.raises(TypeError, match="x must be a float32, float16"):
        one_step(torch.ones(3, dtype=torch.int64), 0.0, theta)
    with pytest.raises(TypeError, match="x must be a tensor"):
        one_step([1.0], 0.0, theta)  # type: ignore[arg-type]
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="no gradient without a surrogate"):
        one_step(x, 0.0, theta)[0].sum().backward()
    assert len(taken) == 1


def test_what_goes_in_is_not_changed() -> None:
    x, v, theta = currents(4, 3), currents(4, 3, seed=1), thresholds(3)
    before = [value.clone() for value in (x, v, theta)]
    for v_reset in (None, 0.0, 1.0):
        if_step(x, v, theta, v_reset=v_reset)
    for value, want in zip((x, v, theta), before, strict=True):
        assert_same(value, want)
