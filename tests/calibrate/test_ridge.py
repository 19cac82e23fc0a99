"""Ridge regression: both forms against each other and against the normal equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikeconv.calibrate import ridge
from spikeconv.calibrate.ridge import Part, regress


def parts(groups: int, inputs: int, rows: int, truth: Tensor, noise: float) -> list[Part]:
    """Rows of `truth` ``[G, K + 1, C]`` and noise, in two parts of different sizes.

    In sixteenths, so that sums of products are exact in float32.
    """
    x = torch.randint(0, 17, (groups, inputs, rows)) / 16
    y = truth[:, :-1].mT @ x + truth[:, -1:].mT
    y = ((y + noise * torch.randn_like(y)) * 16).round() / 16
    return list(zip(x.split([1, rows - 1], 2), y.split([1, rows - 1], 2), strict=True))


@pytest.mark.parametrize(("inputs", "rows"), [(3, 40), (8, 8), (40, 12)])
@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_both_forms_find_the_same_change(inputs: int, rows: int, noise: float) -> None:
    truth = torch.randn(2, inputs + 1, 3)
    fitted, unseen = (parts(2, inputs, n, truth, noise) for n in (rows, rows // 2))
    few, many = (regress(fitted, unseen, form) for form in (True, False))
    assert few is not None and many is not None
    assert few.shape == truth.shape and few.dtype == many.dtype == torch.float64
    torch.testing.assert_close(few, many, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("few", [False, True])
def test_the_penalty_is_the_best_on_unseen_rows(few: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every penalty alone, by its error on unseen rows; with the winner all rows are fitted."""
    truth = torch.randn(1, 11, 2)
    fitted, unseen = (parts(1, 10, n, truth, 0.5) for n in (16, 60))
    chosen, best = regress(fitted, unseen, few), None
    x, y = (torch.cat(part, 2).double() for part in zip(*unseen, strict=True))
    for penalty in ridge._PENALTIES:
        monkeypatch.setattr(ridge, "_PENALTIES", (penalty,))
        alone = ridge._Moments.of(fitted).solve(penalty)
        error = float((y - alone[:, :-1].mT @ x - alone[:, -1:].mT).square().sum())
        if best is None or error < best[0]:
            best = error, regress(fitted, unseen, few)
    assert chosen is not None and best is not None and torch.equal(chosen, best[1])


@pytest.mark.parametrize("few", [False, True])
def test_nothing_where_no_change_helps(few: bool) -> None:
    """Unseen rows that say the opposite, and values that are not finite."""
    truth = torch.randn(1, 5, 2)
    fitted = parts(1, 4, 20, truth, 0)
    assert regress(fitted, [(x, -y) for x, y in fitted], few) is None
    for broken in (float("nan"), float("inf")):
        assert regress([(x * broken, y) for x, y in fitted], fitted, few) is None
        assert regress(fitted, [(x, y * broken) for x, y in fitted], few) is None


@pytest.mark.parametrize("bottom", range(6))
def test_downhill_to_the_bottom_of_any_valley(bottom: int) -> None:
    looked_at = []

    def error(place: int) -> float:
        looked_at.append(place)
        return abs(place - bottom)

    assert ridge._descend(error, 6) == (bottom, 0)
    assert len(looked_at) == len(set(looked_at)) <= 4
