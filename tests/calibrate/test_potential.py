"""Initial potentials, and the theorem behind theta / 2 (Bu et al., AAAI 2022)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from spikeconv import if_multistep
from spikeconv.calibrate import initial_potential
from tests.convert.nets import Net, converted, images


def errors(T: int, start: float, theta: float = 0.75, cells: int = 4096) -> tuple[float, float]:
    """Mean and mean square of theta count / T - z, in units of theta / T and of its square.

    z is uniform in (0, theta): `cells` values within every quantisation step, by the neuron itself.
    """
    z = (torch.arange(T * cells, dtype=torch.float64) + 0.5) / (T * cells) * theta
    count, _ = if_multistep(z, theta, start * theta, T=T, emit="count", backend="reference")
    error = (theta * count / T - z) / (theta / T)
    return error.mean().item(), error.square().mean().item()


@pytest.mark.parametrize("T", (1, 3, 4, 8, 16))
@pytest.mark.parametrize("start", (0.0, 0.25, 0.5, 0.75, 1.0))
def test_mean_error_is_that_of_the_start(T: int, start: float) -> None:
    """E[err] = (v_init - theta / 2) / T, E[err^2] = (theta^2 / 12 + (v_init - theta / 2)^2) / T^2:
    no error on average from one half, and only from there.
    """
    mean, square = errors(T, start)
    assert mean == pytest.approx(start - 0.5, abs=1e-3)
    assert square == pytest.approx(1 / 12 + (start - 0.5) ** 2, abs=1e-3)


@pytest.mark.parametrize("T", (1, 4, 16))
def test_a_quarter_of_the_square_error_of_zero(T: int) -> None:
    assert errors(T, 0.5)[1] * 4 == pytest.approx(errors(T, 0.0)[1], rel=1e-2)


@pytest.mark.parametrize(
    ("v_init", "start"), (("zero", 0), ("half", 0.5), (0, 0), (0.3, 0.3), (-1.5, -1.5), (2, 2))
)
def test_in_units_of_theta(v_init: str | float, start: float) -> None:
    assert initial_potential(v_init) == start
    net = Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x))))))
    snn = converted(net, T=2, v_init=v_init)
    for node, row in zip(snn.populations().values(), snn.report().rows, strict=True):
        assert torch.equal(node.v_init, start * node.v_threshold)
        assert row.v_init == pytest.approx((start, start, start))
    assert snn.report().settings["v_init"] == v_init


@pytest.mark.parametrize("v_init", ("theta/2", "", None, True, math.nan, math.inf, [0.5], {}))
def test_nothing_else(v_init: Any) -> None:
    with pytest.raises(ValueError, match="v_init must be 'zero', 'half' or a finite number"):
        initial_potential(v_init)


def test_more_potential_more_spikes() -> None:
    """The output of one layer rises with v_init, as every count does."""
    net = Net(lambda s, x: F.relu(s.c1(x)))
    x = images(8)
    outputs = [converted(net, x, T=4, v_init=v)(x) for v in (0.0, 0.5, 1.0)]
    assert (outputs[0] <= outputs[1]).all() and (outputs[1] <= outputs[2]).all()
    assert outputs[0].sum() < outputs[1].sum() < outputs[2].sum()
