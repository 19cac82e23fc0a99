"""Errors of layers that come of images of another size, and those that do not."""

from __future__ import annotations

import pytest
import torch

from spikeconv.calibrate.inputs import told_of_size


def test_a_layer_that_fails_at_another_size_names_the_input() -> None:
    wanted = r"net: x must be like \[B, 3, 8, 8\], got shape \[2, 3, 4, 4\], .* fails: too small"
    with (
        pytest.raises(ValueError, match=wanted),
        told_of_size(["net: x"], torch.zeros(2, 3, 4, 4), [(3, 8, 8)]),
    ):
        raise RuntimeError("too small")


def test_too_little_memory_is_not_taken_for_a_wrong_size() -> None:
    sizes = ["net: x"], torch.zeros(2, 3, 4, 4), [(3, 8, 8)]
    with pytest.raises(torch.OutOfMemoryError), told_of_size(*sizes):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="you tried to allocate"), told_of_size(*sizes):
        torch.empty(2**60, dtype=torch.uint8, device="cpu")  # more than any address space
