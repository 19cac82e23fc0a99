"""When an image is sure enough: steps, logits and the curve, by hand and against a loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from spikeconv.early_exit import ExitCounter, certainty, early_exit, early_exit_curve


def two_classes(*shares: list[float]) -> Tensor:
    """Logits ``[T, B, 2]`` for which class 0 has such shares; one list for each image."""
    p = torch.tensor(shares).T
    return torch.stack([p.log(), (1 - p).log()], -1)


def test_by_hand() -> None:
    """Three images: sure of 0 at step 2; of 1 at step 1, unsure later; never."""
    logits = two_classes([0.6, 0.9, 0.95], [0.05, 0.5, 0.6], [0.5, 0.6, 0.7])
    out, steps = early_exit(logits, 0.875)
    assert steps.tolist() == [2, 1, 3] and steps.dtype == torch.int64
    assert torch.equal(out, torch.stack([logits[1, 0], logits[0, 1], logits[2, 2]]))


def test_a_tie_is_sure_enough() -> None:
    logits = torch.tensor([[[1.0, 1.0]], [[5.0, 1.0]]])
    assert early_exit(logits, 0.5).steps.tolist() == [1]
    assert early_exit(torch.tensor([[[0.0, -1e4]]]), 1).steps.tolist() == [1]


def test_broken_images_take_all_steps() -> None:
    logits = torch.full((3, 1, 2), float("nan"))
    assert early_exit(logits, 0.1).steps.tolist() == [3]
    assert certainty(logits).tolist() == [[0], [0], [0]]


def test_half_precision_is_not_sure_too_soon() -> None:
    """A share of 0.9990 is 1 in bfloat16."""
    logits = torch.tensor([[[6.9, 0.0]]]).bfloat16()
    assert early_exit(logits, 0.9999).steps.tolist() == [1]  # the last step in any case
    assert certainty(logits).item() < 0.9999
    assert early_exit(logits.expand(2, 1, 2), 0.9999).steps.tolist() == [2]


def test_the_curve_is_a_loop_over_confidences() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 50, 5, generator=generator).cumsum(0)
    labels = torch.randint(5, (50,), generator=generator)
    confidences = [0.2, 0.4, 0.6, 0.8, 0.95, 1.0]
    curve = early_exit_curve(logits, labels, confidences)
    assert curve.confidences == confidences
    for i, confidence in enumerate(confidences):
        out, steps = early_exit(logits, confidence)
        assert curve.steps[i] == pytest.approx(steps.double().mean().item())
        right = (out.argmax(-1) == labels).double().mean().item()
        assert curve.accuracies[i] == pytest.approx(right)
        for image in range(50):
            shares = logits[:, image].softmax(-1).amax(-1).tolist()
            first = next((t for t, p in enumerate(shares, 1) if p >= confidence), 7)
            assert steps[image] == first
    assert curve.steps[0] == 1 and curve.steps == sorted(curve.steps)


def test_batches_add_up() -> None:
    """Of any sizes, an empty one too; nothing is kept of them but counts."""
    logits, labels = torch.randn(4, 20, 3), torch.randint(3, (20,))
    counter = ExitCounter([0.5, 0.9])
    for part in (slice(0, 7), slice(7, 7), slice(7, 20)):
        counter.add(logits[:, part], labels[part])
    assert counter.images == 20
    assert counter.curve() == early_exit_curve(logits, labels, [0.5, 0.9])


def test_as_text() -> None:
    curve = early_exit_curve(two_classes([0.6, 0.9], [0.2, 0.1]), torch.tensor([0, 0]), [0.7, 0.85])
    assert str(curve).split("\n") == [
        "     0.7    50.00% in 1.50 steps",
        "    0.85    50.00% in 2.00 steps",
    ]


@pytest.mark.parametrize(
    ("confidence", "error", "says"),
    (
        (0, ValueError, "above 0 and at most 1, got 0"),
        (1.5, ValueError, "above 0 and at most 1, got 1.5"),
        (float("nan"), ValueError, "above 0 and at most 1, got nan"),
        ("high", TypeError, "a number, got str"),
        (True, TypeError, "a number, got bool"),
    ),
)
def test_confidence_errors(confidence: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"early_exit: confidence must be {says}"):
        early_exit(torch.zeros(1, 1, 2), confidence)
    with pytest.raises(error, match=f"ExitCounter: confidence must be {says}"):
        ExitCounter([0.5, confidence])


@pytest.mark.parametrize(
    ("logits", "error", "says"),
    (
        (torch.zeros(2, 3), ValueError, r"logits must be \[T, B, C\] .*, got \[2, 3\]"),
        (torch.zeros(0, 2, 3), ValueError, r"got \[0, 2, 3\]"),
        (torch.zeros(2, 2, 0), ValueError, r"got \[2, 2, 0\]"),
        (torch.zeros(2, 2, 3).long(), TypeError, r"a floating-point tensor, got torch.int64"),
        ([[[0.0]]], TypeError, "a floating-point tensor, got list"),
    ),
)
def test_logits_errors(logits: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        early_exit(logits, 0.5)
    with pytest.raises(error, match=says):
        early_exit_curve(logits, torch.zeros(2).long())


def test_label_errors() -> None:
    with pytest.raises(ValueError, match=r"labels must be \[2\], one for each image .* got \[3\]"):
        early_exit_curve(torch.zeros(1, 2, 3), torch.zeros(3).long())
    with pytest.raises(ValueError, match="at least one image, got none"):
        ExitCounter().curve()
