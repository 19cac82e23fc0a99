"""A call of the backend "cpp" allocates what it returns and nothing else of that size."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from spikeconv import if_multistep
from tests.ops.cases import LAYOUTS, currents, thresholds

SHAPE = (4, 5, 16, 16)  # [B, C, H, W]
NEURONS = 4 * 5 * 16 * 16

# Bytes a call may take for numbers that became tensors.
SMALL = 1024


def allocated(x: Tensor, **arguments: Any) -> int:
    """Bytes that a call takes from the allocator, whether it gives them back or not."""
    if_multistep(x, **arguments, backend="cpp")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        if_multistep(x, **arguments, backend="cpp")
    events = record.profiler.kineto_results.events()
    return sum(max(event.nbytes(), 0) for event in events if event.name() == "[memory]")


# The profiler says once a process that it forgets; it is read before it does.
@pytest.mark.filterwarnings("ignore:.*Profiler clears events:UserWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_and_parameters_are_read_in_place(layout: str) -> None:
    arrange = LAYOUTS[layout]
    timed, current = arrange(currents(8, *SHAPE)), arrange(currents(*SHAPE))
    theta, v_init = arrange(thresholds(5, 1, 1)), arrange(currents(16, 16))
    biases = [None, *(arrange(currents(8, *shape)) for shape in ((1, 5, 1, 1), SHAPE))]
    for bias, (x, T) in itertools.product(biases, ((timed, None), (current, 8))):
        given: dict[str, Any] = {"v_threshold": theta, "v_init": v_init, "bias": bias, "T": T}
        for emit, size in (("spikes", 4 * 8), ("uint8", 8), ("words", 4), ("count", 4)):
            taken = allocated(x, **given, emit=emit, return_v=None)
            assert size * NEURONS <= taken <= size * NEURONS + SMALL, emit


def test_potentials_are_made_where_asked_for() -> None:
    x = currents(8, *SHAPE)
    for return_v, size in ((None, 0), ("last", 4), ("all", 4 * 8)):
        taken = allocated(x, emit="uint8", return_v=return_v)
        assert (8 + size) * NEURONS <= taken <= (8 + size) * NEURONS + SMALL, return_v


def test_a_static_current_costs_the_same_for_any_number_of_steps() -> None:
    x = currents(*SHAPE)
    one, many = (allocated(x, T=T, emit="count", return_v=None) for T in (1, 1000))
    assert one == many
