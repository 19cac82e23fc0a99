"""A recipe refuses what cannot be trained, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from spikeconv.train import Recipe


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "epochs must be 1 or more, got 0"),
        ("batch", 0, "batch must be 1 or more, got 0"),
        ("holdout", -1, "holdout must be 0 or more, got -1"),
        ("seed", -1, "seed must be 0 or more, got -1"),
        ("seed", 2**32, "seed must be at most 4,294,967,295, got 4294967296"),
        ("limit", 0, "limit must be 1 or more, got 0"),
        ("lr", 0.0, "lr must be above 0 and finite, got 0.0"),
        ("lr", float("nan"), "lr must be above 0 and finite, got nan"),
        ("weight_decay", -1.0, "weight_decay must be 0 or more and finite, got -1.0"),
        ("momentum", 1.0, r"momentum must be in \[0, 1\), got 1.0"),
        ("label_smoothing", -0.1, r"label_smoothing must be in \[0, 1\), got -0.1"),
        ("muon_lr", -0.1, "muon_lr must be above 0 and finite, got -0.1"),
        ("optimizer", "adam", "optimizer must be 'sgd' or 'muon', got 'adam'"),
        ("schedule", "step", "schedule must be 'cosine' or 'onecycle', got 'step'"),
        ("augment", ("crop", "mixup"), "among crop, flip, autoaugment, .*, got 'mixup'"),
    ],
)
def test_nonsense_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**{field: value})


@pytest.mark.parametrize("field", ["epochs", "batch", "holdout", "seed", "limit"])
@pytest.mark.parametrize("value", [2.0, True, "2"])
def test_what_is_counted_is_whole(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"Recipe: {field} must be an int, got {value!r}"):
        Recipe(**{field: value})


def test_what_is_possible_is_taken() -> None:
    recipe = Recipe(epochs=1, batch=1, holdout=0, weight_decay=0, momentum=0, augment=(), limit=1)
    assert recipe.limit == 1
