"""A step moves a bound by a tenth of itself at most, so none is lost below 0."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from spikeconv.activation import LEAST_BOUND, QCFS, Clip
from spikeconv.data import ImageSet
from spikeconv.models import build_model
from spikeconv.train import Trainer
from spikeconv.train.bounds import MOST, Bounds
from tests.train.runs import recipe


def test_by_hand() -> None:
    net = nn.Sequential(Clip(2.0), nn.ReLU(), QCFS(4, 1.0), Clip(0.01))
    bounds = [module.bound for module in net if isinstance(module, Clip)]
    with Bounds(net).limited(), torch.no_grad():
        for bound, value in zip(bounds, (1.9, 7.0, -3.0), strict=True):
            bound.fill_(value)
    assert [round(bound.item(), 6) for bound in bounds] == [1.9, 1.1, 0.009]
    with Bounds(net).limited(), torch.no_grad():
        bounds[2].fill_(0.0)
        bounds[2].sub_(1.0)
    assert round(bounds[2].item(), 6) == 0.0081
    assert all(bound.requires_grad for bound in bounds)


def test_a_lost_bound_comes_back() -> None:
    # One of a run that was begun before bounds were limited.
    net = Clip(1.0)
    net.bound.data.fill_(-0.3)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    bounds, seen = Bounds(net), []
    for _ in range(60):
        sgd.zero_grad()
        (1 - net(torch.ones(1))).square().sum().backward()
        with bounds.limited():
            sgd.step()
        seen.append(net.bound.item())
    # The first step has no gradient, each other one adds a tenth.
    assert seen[0] == pytest.approx(LEAST_BOUND)
    assert seen[10] == pytest.approx(LEAST_BOUND * 1.1**10)
    assert seen[-1] > 0.2


def test_a_network_without_bounds_is_left_alone() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with Bounds(net).limited(), torch.no_grad():
        net[0].weight.zero_()
    assert not net[0].weight.any()


@pytest.mark.parametrize("activation", ["clip", "qcfs"])
def test_a_rate_that_is_much_too_high_leaves_all_layers_alive(
    images: ImageSet, activation: str
) -> None:
    torch.manual_seed(0)
    net = build_model("resnet8", num_classes=3, activation=activation)
    seen = [[module.bound.item()] for module in net.modules() if isinstance(module, Clip)]
    trainer = Trainer(net, images, recipe(lr=5.0, epochs=20), None)

    def note(*given: object) -> None:
        found = [module.bound.item() for module in net.modules() if isinstance(module, Clip)]
        for values, value in zip(seen, found, strict=True):
            values.append(value)

    net.register_forward_pre_hook(note)
    try:
        trainer.run(progress=False, say=lambda line: None)
    except ValueError as error:
        assert "loss became" in str(error)
    moved = False
    for values in seen:
        assert min(values) >= LEAST_BOUND
        for before, after in pairwise(values):
            assert abs(after - before) <= MOST * before * (1 + 1e-5)
            moved |= abs(after - before) > 0.9 * MOST * before
    assert moved  # some would have gone further
