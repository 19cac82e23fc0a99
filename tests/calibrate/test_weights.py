"""Weights refitted to what a layer's output lacks: against a plain regression, layer by layer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv.calibrate import ridge
from spikeconv.calibrate import weights as module
from spikeconv.calibrate.weights import missing_current, refit

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(3, 2), (3,)),
    "linear without bias": (lambda: nn.Linear(3, 2, bias=False), (3,)),
    "linear of tokens": (lambda: nn.Linear(3, 2), (5, 3)),
    "linear of more dimensions": (lambda: nn.Linear(3, 2), (2, 2, 3)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 9)),
    "conv1d dilated, same, even": (
        lambda: nn.Conv1d(2, 3, 4, padding="same", dilation=2),
        (2, 9),
    ),
    "conv2d": (lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 6, 5)),
    "conv2d without bias": (lambda: nn.Conv2d(2, 3, 2, bias=False), (2, 5, 5)),
    "conv2d same": (lambda: nn.Conv2d(2, 3, (3, 5), padding="same"), (2, 5, 4)),
    "conv2d circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 4)),
    "conv2d reflect": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 5, 4)),
    "conv2d replicate": (
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"),
        (2, 5, 4),
    ),
    "conv2d dilated": (lambda: nn.Conv2d(2, 3, 2, dilation=(2, 1)), (2, 5, 4)),
    "conv2d grouped": (lambda: nn.Conv2d(4, 6, 2, groups=2), (4, 4, 4)),
    "conv2d depthwise": (lambda: nn.Conv2d(3, 3, 2, groups=3), (3, 4, 4)),
    "conv2d depthwise, two each": (lambda: nn.Conv2d(3, 6, 2, groups=3), (3, 4, 4)),
}


def moved(layer: nn.Module) -> nn.Module:
    """The same kind of layer with other weights, and with a bias."""
    other = copy.deepcopy(layer)
    bias = torch.zeros(len(other.weight)) if other.bias is None else other.bias
    other.weight = nn.Parameter(other.weight + torch.randn_like(other.weight) * 0.3)
    other.bias = nn.Parameter(bias + torch.randn_like(bias))
    return other.requires_grad_(False)


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_linear_change_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without a penalty exactly, up to what float32 sums lose."""
    monkeypatch.setattr(ridge, "_PENALTIES", (1e-9,))
    make, shape = LAYERS[name]
    layer = make()
    goal, x = moved(layer), torch.rand(64, *shape)
    before = copy.deepcopy(layer.state_dict())
    new = refit(layer, x, goal(x) - layer(x))
    torch.testing.assert_close(new.weight, goal.weight, atol=2e-4, rtol=0)
    torch.testing.assert_close(new.bias, goal.bias, atol=2e-4, rtol=0)
    assert not new.weight.requires_grad and type(new) is type(layer)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


@torch.no_grad()
def test_the_penalty_is_ridge_regression() -> None:
    """Of a linear layer: against the normal equations, for the penalty that wins on its own."""
    layer, x = nn.Linear(4, 2), torch.rand(40, 4)
    missing = x @ torch.randn(4, 2) + torch.randn(40, 2) + 3
    new = refit(layer, x, missing)
    inputs = torch.cat([x, torch.ones(40, 1)], 1).double()
    gram = inputs.T @ inputs
    found = []
    for penalty in ridge._PENALTIES:
        held_back = penalty * gram.diagonal()[:4].mean() * torch.ones(5).double()
        held_back[4] = 1e-6 * 40
        change = torch.linalg.solve(gram + held_back.diag(), inputs.T @ missing.double())
        found.append(float((new.weight - layer.weight - change[:4].T).abs().max()))
        found[-1] += float((new.bias - layer.bias - change[4]).abs().max())
    assert min(found) < 1e-5


@pytest.mark.parametrize("scale", [2.0**-12, 2.0**12])
@torch.no_grad()
def test_units_do_not_matter(scale: float) -> None:
    """Inputs in other units give the weights in other units; a power of two, so exactly."""
    layer, x = nn.Linear(4, 2), torch.rand(40, 4)
    layer.weight.zero_()
    missing = x @ torch.randn(4, 2) + torch.randn(40, 2)
    one, other = refit(layer, x, missing), refit(layer, x * scale, missing)
    torch.testing.assert_close(other.weight * scale, one.weight)
    torch.testing.assert_close(other.bias, one.bias)


@torch.no_grad()
def test_nothing_to_gain_is_nothing_done() -> None:
    layer, x = nn.Conv2d(2, 3, 3), torch.rand(16, 2, 4, 4)
    assert refit(layer, x, torch.zeros(16, 3, 2, 2)) is layer
    # What the images that are fitted teach is the opposite of what the held-out ones say.
    linear, inputs = nn.Linear(3, 2, bias=False), torch.randn(16, 3)
    lacking = inputs @ torch.randn(3, 2)
    assert refit(linear, inputs, lacking) is not linear
    lacking[3::4] *= -1
    assert refit(linear, inputs, lacking) is linear


@torch.no_grad()
def test_too_few_images_to_hold_one_out() -> None:
    layer = nn.Linear(3, 2)
    for count, changes in ((1, False), (2, False), (3, False), (4, True)):
        x = torch.rand(count, 3)
        assert (refit(layer, x, torch.ones(count, 2)) is not layer) == changes


@torch.no_grad()
def test_inputs_of_zero_leave_the_bias() -> None:
    """All of them, of one group, or of one channel: whatever is missing is missing everywhere."""
    layer = nn.Conv2d(4, 4, 2, groups=2)
    for dead in (slice(0, 4), slice(0, 2), slice(3, 4)):
        x = torch.rand(16, 4, 3, 3)
        x[:, dead] = 0
        new = refit(layer, x, torch.full((16, 4, 2, 2), 2.0))
        assert bool(torch.isfinite(new.weight).all())
        torch.testing.assert_close(new.bias, layer.bias + 2, atol=0.02, rtol=0)
    zero = refit(nn.Linear(3, 2), torch.zeros(8, 3), torch.ones(8, 2))
    assert bool(torch.isfinite(zero.weight).all())


@torch.no_grad()
def test_broken_values_change_nothing() -> None:
    layer, x = nn.Linear(3, 2), torch.rand(8, 3)
    for broken in (float("nan"), float("inf")):
        x[5, 1] = broken
        assert refit(layer, x, torch.ones(8, 2)) is layer


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@torch.no_grad()
def test_other_dtypes(dtype: torch.dtype) -> None:
    """Sums are wide, and the sum with the weight is rounded once."""
    layer, x = nn.Linear(8, 4), torch.rand(64, 8).bfloat16()
    layer.weight.copy_(layer.weight.bfloat16())
    missing = (x.float() @ torch.randn(8, 4) / 16 + 0.25).bfloat16()
    narrow = copy.deepcopy(layer).to(dtype)
    wide = refit(copy.deepcopy(layer), x.float(), missing.float())
    new = refit(narrow, x.to(dtype), missing.to(dtype))
    assert new.weight.dtype == new.bias.dtype == dtype
    assert torch.equal(new.weight, wide.weight.to(dtype)) or dtype == torch.float64
    torch.testing.assert_close(new.weight.float(), wide.weight, atol=0.01, rtol=0.01)


@torch.no_grad()
def test_a_large_layer_is_thinned_and_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1)
    goal, x = moved(layer), torch.rand(32, 2, 8, 8)
    monkeypatch.setattr(module, "_ROWS", 300)
    few = refit(layer, x, goal(x) - layer(x))
    torch.testing.assert_close(few.weight, goal.weight, atol=0.05, rtol=0)
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 1)
    one_by_one = refit(layer, x, goal(x) - layer(x))
    torch.testing.assert_close(one_by_one.weight, few.weight, atol=1e-4, rtol=0)


def test_thinning_shares_no_factor_with_the_width() -> None:
    assert module._thinning(64, 15, 1000) == 1
    assert module._thinning(64, 16, 1000) == 3
    assert module._thinning(15 * 15, 12, 1000) == 4
    assert module._thinning(1, 999, 1000) == 1


@torch.no_grad()
def test_equations_have_no_more_unknowns_than_rows_or_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """16 images; a layer of 100,000 inputs would need 80 GB of moments."""
    rows = []

    def regress(fitted: Any, unseen: Any, few: bool) -> None:
        rows.append((sum(x.shape[2] for part in (fitted, unseen) for x, _ in part), few))

    monkeypatch.setattr(module, "regress", regress)
    monkeypatch.setattr(module, "_UNKNOWNS", 20)
    for layer, shape in (
        (nn.Linear(16, 2), (16,)),  # 17 with the bias
        (nn.Linear(15, 2), (15,)),
        (nn.Conv2d(1, 2, 3), (1, 7, 7)),  # 10 inputs at 25 places
        (nn.Conv2d(4, 2, 3), (4, 7, 7)),  # 37 inputs, so 400 / 37 rows, but one of each image
    ):
        x = torch.rand(16, *shape)
        refit(layer, x, layer(x))
    monkeypatch.setattr(module, "_UNKNOWNS", 3)
    refit(nn.Linear(15, 2), torch.rand(16, 15), torch.ones(16, 2))  # more inputs than 3 * 3
    assert rows == [(16, True), (16, False), (400, False), (16, True), (16, False)]
    monkeypatch.undo()
    wide, x = nn.Linear(100_000, 2), torch.rand(16, 100_000)
    new = refit(wide, x, torch.ones(16, 2))
    torch.testing.assert_close(new(x), wide(x) + 1, atol=0.01, rtol=0)


def test_missing_current_by_hand() -> None:
    """Wrong by 1 below the cap; right where both are off, on either side; not at 0 or the cap."""
    current = torch.tensor([1.0, -2.0, -2.0, 5.0, 5.0, 0.0, 4.0])
    wanted = torch.tensor([2.0, -1.0, 1.0, 6.0, 3.0, -1.0, 8.0])
    assert missing_current(current, wanted, 4.0).tolist() == [1, 0, 3, 0, -2, -1, 4]
    assert missing_current(current, wanted, torch.inf).tolist() == [1, 0, 3, 1, -2, -1, 4]


def test_missing_current_leaves_its_operands() -> None:
    current, wanted = torch.tensor([-1.0]), torch.tensor([-2.0])
    result: Tensor = missing_current(current, wanted, 1.0)
    assert (result.item(), current.item(), wanted.item()) == (0, -1, -2)
