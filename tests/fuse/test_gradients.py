"""A gradient through integers is an error of the backward pass; behind them there are some."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spikeconv import SpikingNetwork, convert
from tests.fuse.nets import exact, images, shape_of

X = images(shape_of("residual"), 2)


def assert_refused(fused: SpikingNetwork, x: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match=r"has no gradients but .* of the network that it was"):
        fused(x).sum().backward()
    with pytest.raises(RuntimeError, match="has no gradients but"):
        fused(x, readout="all").sum().backward()


def test_of_the_images() -> None:
    assert_refused(exact("residual").fuse(), X.clone().requires_grad_())


def test_of_weights_before_the_last_neurons() -> None:
    fused = exact("residual").trainable().fuse()
    assert torch.equal(fused(X), exact("residual")(X))  # a call alone is none
    assert_refused(fused, X)


def test_of_a_threshold() -> None:
    fused = exact("residual").fuse()
    node = next(iter(fused.populations().values()))
    node.v_threshold = nn.Parameter(node.v_threshold.clone())
    assert_refused(fused, X)


def test_the_head_learns() -> None:
    """Its gradient is what the simulation's is, which has the same spikes."""
    gradients = []
    for network in (exact("residual").fuse(), exact("residual")):
        head = [module for module in network.layers.values() if isinstance(module, nn.Linear)][-1]
        head.weight.requires_grad_()
        network(X).sum().backward()
        gradients.append(head.weight.grad)
    assert gradients[0] is not None
    assert torch.equal(*gradients)


@pytest.mark.filterwarnings("ignore:.*no layer of this network")
def test_a_network_without_integers_learns_as_before() -> None:
    body = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    snn = convert(body, torch.rand(8, 4), T=4, method="opi", progress=False).trainable()
    fused = snn.fuse()
    for network in (snn, fused):
        network(torch.ones(2, 4)).sum().backward()
    for ours, wanted in zip(fused.parameters(), snn.parameters(), strict=True):
        assert ours.grad is not None
        assert torch.equal(ours.grad, wanted.grad)
