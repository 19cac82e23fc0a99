"""A gradient through integers is an error of the backward pass; behind them there are some."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

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


def test_of_a_threshold_that_is_no_parameter() -> None:
    fused = exact("residual").fuse()
    next(iter(fused.populations().values())).v_threshold.requires_grad_()
    assert_refused(fused, X)


def test_of_a_constant() -> None:
    fused = exact("scaled").fuse()
    for constant in fused.weights().values():
        constant.requires_grad_()
    assert_refused(fused, images(shape_of("scaled"), 2))


def test_of_the_replica_of_a_module() -> None:
    """As `nn.DataParallel` makes them: parameters are plain attributes."""
    fused = exact("residual").trainable().fuse()
    layer = fused.layers["second"]
    layer._former_parameters = dict(layer._parameters)
    layer._parameters = {}
    for name, value in layer._former_parameters.items():
        object.__setattr__(layer, name, value)
    for other in fused.layers.values():
        for parameter in other.parameters():
            parameter.requires_grad_(False)
    assert_refused(fused, X)


def gradient_of_the_head(network: SpikingNetwork) -> torch.Tensor:
    head = [module for module in network.layers.values() if isinstance(module, nn.Linear)][-1]
    head.weight.requires_grad_()
    (gradient,) = torch.autograd.grad(network(X).sum(), head.weight)
    return gradient


def test_the_head_learns_whoever_else_wants_to() -> None:
    """Its gradient is what the simulation's is, which has the same spikes."""
    wanted = gradient_of_the_head(exact("residual"))
    assert torch.equal(gradient_of_the_head(exact("residual").fuse()), wanted)
    assert torch.equal(gradient_of_the_head(exact("residual").trainable().fuse()), wanted)


def test_neurons_in_floating_point_behind_integers_learn() -> None:
    """The last population reads what is interpolated; the one before it is in integers."""
    body = nn.Sequential(
        *(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
        ),
        *(nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2)),
    )
    snn = convert(body, torch.rand(8, 1, 8, 8), T=4, method="opi", progress=False).trainable()
    fused, x, gradients = snn.fuse("int16"), torch.rand(2, 1, 8, 8), []
    assert [path[:5] for path in fused.report().paths.values()] == ["float", "int16", "float"]
    for network in (fused, snn):
        network.requires_grad_(False)
        last = [module for module in network.layers.values() if isinstance(module, nn.Conv2d)][-1]
        last.weight.requires_grad_()
        network(x).sum().backward()
        gradients.append(last.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)
    assert gradients[0].any()


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


def test_in_forward_mode_there_are_none() -> None:
    for network in (exact("residual"), exact("residual").fuse()):
        with forward_ad.dual_level():
            x = forward_ad.make_dual(X, torch.ones_like(X))
            with pytest.raises(RuntimeError, match="has no derivatives in forward mode"):
                network(x)
