"""SpikingJelly 2.0.0: its surrogates are ours, or are taken as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import replace_neurons
from spikeconv.surrogate import ATan, FromSpikeFunction, PiecewiseLinear, Sigmoid
from tests.drop_in.libraries import assert_equal, gradients, library, replaced, steps

pytestmark = pytest.mark.spikingjelly

neuron: Any = library("spikingjelly.activation_based.neuron")
surrogate: Any = library("spikingjelly.activation_based.surrogate")

SURROGATES = {
    "Sigmoid": Sigmoid(3.0),
    "ATan": ATan(3.0),
    "PiecewiseQuadratic": PiecewiseLinear(1 / 3.0),
}


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("v_reset", [None, 0.0, -0.5])
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize(
    "name", ["Sigmoid", "ATan", "PiecewiseQuadratic", "Erf", "SoftSign", "S2NN", "LeakyKReLU"]
)
def test_gradients_are_theirs(
    name: str, step_mode: str, v_reset: float | None, detach_reset: bool
) -> None:
    kind = getattr(surrogate, name)
    function = kind(alpha=3.0) if "alpha" in kind.__init__.__code__.co_varnames else kind()
    theirs = neuron.IFNode(0.75, v_reset, function, detach_reset, step_mode)
    mine = replaced(theirs)
    assert mine.detach_reset is detach_reset
    if name in SURROGATES:
        assert mine.surrogate_function == SURROGATES[name]
    else:
        assert isinstance(mine.surrogate_function, FromSpikeFunction)

    def call(net: nn.Module, x: Tensor) -> Tensor:
        out: Tensor = net(x) if step_mode == "m" else torch.stack([net(step) for step in x])
        return out

    x = steps(6, 5)
    spikes, gradient = gradients(mine, x, call)
    their_spikes, their_gradient = gradients(theirs, x, call)
    assert_equal(spikes, their_spikes)
    assert their_gradient.abs().max() > 0.1
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-5, atol=1e-6)


def test_every_surrogate_is_known_for_what_it_is() -> None:
    u = torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-30, 0.5, 3.0])
    steps_known = 0
    for name, kind in vars(surrogate).items():
        if not isinstance(kind, type) or not issubclass(kind, surrogate.SurrogateFunctionBase):
            continue
        if kind is surrogate.SurrogateFunctionBase:
            continue
        function = kind(4) if name == "MultiLevelSpikeCount" else kind()
        net = nn.Sequential(neuron.IFNode(surrogate_function=function))
        if replace_neurons(net).replaced:
            assert_equal(function(u), (u >= 0).float())
            # A derivative does not depend on what it is multiplied with.
            x = u.clone().requires_grad_()
            one, two = (
                torch.autograd.grad(function(x), x, scale * torch.ones_like(x))[0]
                for scale in (1.0, -2.0)
            )
            torch.testing.assert_close(two, -2.0 * one)
            steps_known += 1
        else:
            assert name in {
                *("DeterministicPass", "FakeNumericalGradient", "MultiLevelSpikeCount"),
                "PoissonPass",
            }
    assert steps_known >= 14
