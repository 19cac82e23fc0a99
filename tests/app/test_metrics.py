"""Counting right answers."""

from __future__ import annotations

import pytest
import torch

from spikeconv.metrics import correct, steps_to_show


def test_right_answers_are_counted_for_every_step() -> None:
    logits = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    assert correct(logits, torch.tensor([1, 0])).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2), r"got \[3, 2\] and \[2\]"),
        (torch.zeros(3), torch.zeros(3), r"got \[3\] and \[3\]"),
        (torch.zeros(2, 2), torch.tensor([0, 2]), r"labels must be in 0\.\.1 .*got 0\.\.2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    logits: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        correct(logits, labels)


def test_the_rows_of_a_table() -> None:
    assert steps_to_show(1) == [1]
    assert steps_to_show(32) == [1, 2, 4, 8, 16, 32]
    assert steps_to_show(33) == [1, 2, 4, 8, 16, 32, 33]
