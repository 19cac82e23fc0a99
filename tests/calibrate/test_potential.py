"""Initial potentials: constants, and what every neuron draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikeconv.calibrate import INITIAL_POTENTIALS, draw_potential, initial_potential
from spikeconv.convert import SpikingNetwork
from tests.convert.nets import Net, converted, images

RANDOM = ("uniform", "gaussian")


@pytest.mark.parametrize(
    ("v_init", "start"), (("zero", 0), ("half", 0.5), (0, 0), (0.3, 0.3), (-1.5, -1.5), (2, 2))
)
def test_in_units_of_theta(v_init: str | float, start: float) -> None:
    assert initial_potential(v_init) == start
    assert torch.equal(draw_potential(v_init, (2, 3)), torch.tensor(start, dtype=torch.float32))
    net = Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x))))))
    snn = converted(net, T=2, v_init=v_init)
    for node, row in zip(snn.populations().values(), snn.report().rows, strict=True):
        assert torch.equal(node.v_init, start * node.v_threshold)
        assert row.v_init == pytest.approx((start, start, start))
    assert snn.report().settings["v_init"] == v_init


@pytest.mark.parametrize(
    "v_init", ("theta/2", "", None, True, math.nan, math.inf, 1e39, 10**400, [0.5], {})
)
def test_nothing_else(v_init: Any) -> None:
    with pytest.raises(
        ValueError, match="v_init must be 'zero', 'half', 'uniform', 'gaussian' or a fin"
    ):
        initial_potential(v_init)


def test_more_potential_more_spikes() -> None:
    """The output of one layer rises with v_init, as every count does."""
    net = Net(lambda s, x: F.relu(s.c1(x)))
    x = images(8)
    outputs = [converted(net, x, T=4, v_init=v)(x) for v in (0.0, 0.5, 1.0)]
    assert (outputs[0] <= outputs[1]).all() and (outputs[1] <= outputs[2]).all()
    assert outputs[0].sum() < outputs[1].sum() < outputs[2].sum()


def test_names() -> None:
    assert set(INITIAL_POTENTIALS) == {"zero", "half", *RANDOM}


@pytest.mark.parametrize("v_init", RANDOM)
def test_thresholds_are_set_for_the_mean(v_init: str) -> None:
    assert initial_potential(v_init) == 0.5


@pytest.mark.parametrize(("v_init", "deviation"), (("uniform", 12**-0.5), ("gaussian", 0.25)))
def test_distributions(v_init: str, deviation: float) -> None:
    """Mean one half and the deviation, to five standard errors; U(0, 1) stays inside, and even."""
    count = 100_000
    drawn = draw_potential(v_init, (10, 100, 100)).double()
    assert abs(drawn.mean().item() - 0.5) < 5 * deviation / count**0.5
    assert drawn.std().item() == pytest.approx(deviation, rel=5 / (2 * count) ** 0.5)
    inside = ((drawn >= 0) & (drawn < 1)).double().mean().item()
    if v_init == "uniform":
        assert inside == 1
        tenths = torch.histc(drawn.flatten(), 10, 0, 1) / count
        assert float((tenths - 0.1).abs().max()) < 5 * (0.1 * 0.9 / count) ** 0.5
    else:
        assert inside == pytest.approx(0.9545, abs=5 * (0.0434 / count) ** 0.5)  # two deviations


@pytest.mark.parametrize("v_init", RANDOM)
def test_drawn_from_seed_and_layer_alone(v_init: str) -> None:
    """Again the same, whatever else drew numbers; another for another seed, and another layer."""
    first = draw_potential(v_init, (2, 5, 5), seed=3, layer=1)
    torch.rand(7)
    torch.manual_seed(9)
    assert torch.equal(draw_potential(v_init, (2, 5, 5), seed=3, layer=1), first)
    assert first.dtype == torch.float32 and first.shape == (2, 5, 5)
    assert first.unique().numel() == 50
    for seed, layer in ((3, 0), (3, 2), (0, 1), (1, 3), (2**40, 1)):
        other = draw_potential(v_init, (2, 5, 5), seed=seed, layer=layer)
        assert (other != first).double().mean() > 0.9
    assert draw_potential(v_init, ()).shape == ()


def test_drawn_by_hand() -> None:
    """The first numbers of numpy's generator, so that a seed stays what it is."""
    wanted = np.random.Generator(np.random.PCG64([5, 2])).random(4, np.float32)
    assert draw_potential("uniform", (2, 2), 5, 2).flatten().tolist() == wanted.tolist()


@pytest.mark.parametrize("seed", (-1, True, 0.5, None, "0"))
def test_seeds(seed: Any) -> None:
    with pytest.raises(
        ValueError, match=r"convert: seed must be a whole number from 0 to 2\^63 - 1, got"
    ):
        draw_potential("half", (), seed)


def body(s: Net, x: Tensor) -> Any:
    return F.relu(s.head(F.relu(s.c2(F.relu(s.c1(x))))))


@pytest.mark.parametrize("granularity", ("channel", "layer"))
@pytest.mark.parametrize("v_init", RANDOM)
def test_in_a_network(v_init: str, granularity: str) -> None:
    """A number for every neuron times its threshold; thresholds are those of half."""
    x = images(32)

    def network(**options: Any) -> SpikingNetwork:
        torch.manual_seed(0)
        options = {"T": 4, "threshold": "mse", "granularity": granularity, **options}
        return converted(Net(body), x, **options)

    snn, half = network(v_init=v_init, seed=7), network(v_init="half")
    for index, (name, node) in enumerate(snn.populations().items()):
        assert torch.equal(node.v_threshold, half.populations()[name].v_threshold)
        shape = ((4, 8, 8), (4, 8, 8), (3,))[index]
        drawn = draw_potential(v_init, shape, seed=7, layer=index)
        assert torch.equal(node.v_init, drawn * node.v_threshold)
    assert snn.report().settings["v_init"] == f"{v_init}, seed 7"
    low, mean, high = snn.report().rows[0].v_init
    assert low < 0.1 < 0.4 < mean < 0.6 < 0.9 < high
    again, other = network(v_init=v_init, seed=7), network(v_init=v_init, seed=8)
    for name, node in snn.populations().items():
        assert torch.equal(again.populations()[name].v_init, node.v_init)
        assert not torch.equal(other.populations()[name].v_init, node.v_init)


def test_in_another_dtype() -> None:
    """The same potentials as of a float32 network, as they stand."""
    net = Net(body)
    first = next(iter(converted(net, v_init="uniform").populations().values()))
    wide = next(iter(converted(net.double(), v_init="uniform").populations().values()))
    ratio = wide.v_init / wide.v_threshold - first.v_init / first.v_threshold
    assert float(ratio.abs().max()) < 1e-6
