"""Sums to a parameter's shape: right, and in an order that is always the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeconv.ops.fold import sum_to
from tests.helpers import assert_same
from tests.ops.cases import LAYOUTS, currents
from tests.ops.test_properties import broadcasts


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_sum_over_what_was_broadcast(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(0, 5), max_size=4)))
    smaller = data.draw(broadcasts(shape))
    # Eighths: every order of additions gives the same.
    values = (currents(*shape) * 8).round() / 8
    parameter = torch.zeros(smaller, requires_grad=True)
    (wanted,) = torch.autograd.grad(parameter.expand(shape), parameter, values)
    got = sum_to(values, smaller)
    assert got.shape == smaller
    assert torch.equal(got, wanted)


def test_halves_are_added_to_halves() -> None:
    # [1, 2^24, 1, -2^24, 2]: 1 + 1 = 2, 2^24 - 2^24 = 0, and the last joins the first: 2 + 2.
    assert sum_to(torch.tensor([1.0, 2.0**24, 1.0, -(2.0**24), 2.0]), ()).item() == 4.0
    # From the left 1 would be lost in 2^24.
    assert sum_to(torch.tensor([2.0**24, 1.0, -(2.0**24), 1.0]), ()).item() == 2.0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bits_do_not_depend_on_the_layout_or_the_threads(layout: str) -> None:
    values = currents(3, 5, 16, 41, 67) * 1e3
    before = torch.get_num_threads()
    wanted = sum_to(values, (5, 1, 1, 1)), sum_to(values, ())
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            moved = LAYOUTS[layout](values)
            got = sum_to(moved, (5, 1, 1, 1)), sum_to(moved, ())
        finally:
            torch.set_num_threads(before)
        for a, b in zip(got, wanted, strict=True):
            assert_same(a, b)


def test_it_is_nearer_to_the_truth_than_a_running_sum() -> None:
    values = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    truth = values.double().sum().item()
    running = float(np.cumsum(values.numpy(), dtype=np.float32)[-1])
    folded = sum_to(values, ()).item()
    assert abs(folded - truth) < abs(running - truth) / 10
