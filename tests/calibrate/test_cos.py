"""COS's initial potentials, by hand: what the first run was, where the second starts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikeconv import if_multistep
from spikeconv.calibrate.cos import offset_potential


def offset(
    currents: list[float], theta: float = 1.0, v_init: float | None = None, signed: bool = False
) -> float:
    """Where a neuron starts once it has seen such currents, from theta / 2 where not said."""
    start = theta / 2 if v_init is None else v_init
    x = torch.tensor(currents).view(-1, 1)
    spikes, v = if_multistep(x, theta, start, signed=signed, return_v="all")
    assert v is not None
    return offset_potential(spikes, v, torch.tensor(theta), torch.tensor(start)).item()


def count(currents: list[float], theta: float, v_init: float) -> int:
    emitted, _ = if_multistep(torch.tensor(currents).view(-1, 1), theta, v_init, emit="count")
    return int(emitted)


def test_ends_between_nothing_and_theta() -> None:
    """.5 + .25 = .75: no spike, as it should be."""
    assert offset([0.25]) == 0.5
    assert offset([0.5, 0.5, -0.5]) == 0.5  # 1.0 fires, .5, 0


def test_one_spike_too_many() -> None:
    """1.25 fires, then .25 - 1.5 = -1.25: 0.25 above theta are no more than a theta's shift."""
    assert offset([0.75, -1.5]) == -0.5


def test_one_spike_too_many_of_a_large_current() -> None:
    """3.5 fires and leaves 2.5; with -5 it ends at -2.5: 3.5 must go below 1, by 2.501."""
    assert offset([3.0, -5.0]) == pytest.approx(0.5 - 2.501)
    assert count([3.0, -5.0], 1.0, 0.5 - 2.501) == 0


def test_the_least_potential_that_fired_decides() -> None:
    """4.0 and 3.25 fire, then -8.75: 3.25 is the nearer to theta, and one spike stays."""
    v0 = offset([3.5, 0.25, -11.0])
    assert v0 == pytest.approx(0.5 - (3.25 - 0.999))
    assert count([3.5, 0.25, -11.0], 1.0, v0) == 1


def test_negative_without_a_spike() -> None:
    assert offset([-2.0, 0.25]) == 0.5


def test_one_spike_too_few() -> None:
    """-.5 is quiet, 2.5 fires and leaves 1.5 that no step is left for: a theta more is enough."""
    assert offset([-1.0, 3.0]) == pytest.approx(0.5 + 1.501)
    assert count([-1.0, 3.0], 1.0, 0.5 + 1.501) == 2


def test_one_spike_too_few_by_the_least_shift() -> None:
    """.5 is quiet, 2.5 fires: 0.501 would do, but a whole spike's charge is missing."""
    assert offset([0.0, 2.0]) == 1.5


def test_the_largest_potential_that_was_quiet_decides() -> None:
    """-1.5, -.5, then 4.5 fires: -.5 is the nearer to theta."""
    assert offset([-2.0, 1.0, 5.0]) == pytest.approx(0.5 + 1.501)


def test_all_steps_fired() -> None:
    """It cannot fire more."""
    assert offset([2.0, 2.0]) == 0.5


def test_a_tie_at_theta_is_one_too_few() -> None:
    """-.5 is quiet, 2 fires, and exactly theta is left."""
    assert offset([-1.0, 2.5]) == pytest.approx(0.5 + 1.501)
    assert offset([-1.0, 2.4375]) == 0.5


@pytest.mark.parametrize("theta", (0.25, 4.0))
@pytest.mark.parametrize("currents", ([3.0, -5.0], [-1.0, 3.0], [0.75, -1.5], [0.0, 0.25]))
def test_everything_is_in_units_of_theta(theta: float, currents: list[float]) -> None:
    scaled = offset([theta * current for current in currents], theta)
    assert scaled == pytest.approx(theta * offset(currents))


def test_signed() -> None:
    """What counts is the net count: a spike that was taken back is none too many."""
    assert offset([1.0, -1.0, -1.5], signed=True) == 0.5  # 1 and -1, ends at -1
    assert offset([1.0, -1.0, -1.5]) == -0.5
    # 2.5 and 2 fire, -4 takes one back and -3 is left: 2 must go below 1.
    assert offset([2.0, 0.5, -5.0], signed=True) == pytest.approx(0.5 - 1.001)


def test_parameters_of_each_channel_and_image() -> None:
    """Two channels, the second of twice the threshold; two images; spikes in bfloat16."""
    theta = torch.tensor([1.0, 2.0]).view(2, 1)
    x = torch.tensor([[[[0.75], [1.5]], [[0.0], [0.0]]], [[[-1.5], [-3.0]], [[2.0], [4.0]]]])
    spikes, v = if_multistep(x, theta, theta / 2, return_v="all")
    assert v is not None
    for train in (spikes, spikes.bfloat16()):
        v0 = offset_potential(train, v, theta, theta / 2)
        assert v0.dtype == torch.float32
        wanted = torch.tensor([[[-0.5], [-1.0]], [[1.5], [3.0]]])
        assert torch.equal(v0, wanted)


def test_a_broken_neuron_stays_where_it_is() -> None:
    x = torch.tensor([[float("nan")], [1.0]])
    spikes, v = if_multistep(x, 1.0, 0.5, return_v="all")
    assert v is not None
    start: Tensor = offset_potential(spikes, v, torch.tensor(1.0), torch.tensor(0.5))
    assert start.tolist() == [0.5]


def test_gradients_are_of_the_potentials_before_the_reset() -> None:
    """m = v + theta s = 2.6, then -1: one spike too many, and v0 = v_init - (2.6 - 0.999)."""
    v = torch.tensor([[1.6], [-1.0]], requires_grad=True)
    spikes = torch.tensor([[1.0], [0.0]], requires_grad=True)
    start = offset_potential(spikes, v, torch.tensor(1.0), torch.tensor(0.5), signed=False)
    assert start.item() == pytest.approx(0.5 - 1.601)
    start.backward()
    assert v.grad is not None
    assert spikes.grad is not None
    assert (v.grad.flatten().tolist(), spikes.grad.flatten().tolist()) == ([-1, 0], [-1, 0])
