"""The gradients are SpikingJelly's, of spikes and potentials, to 1e-6."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from spikeconv import if_multistep
from spikeconv.surrogate import ATan, FromSpikeFunction, PiecewiseLinear, Sigmoid
from tests.helpers import runnable
from tests.ops.cases import currents

pytestmark = pytest.mark.spikingjelly


def pairs() -> dict[str, tuple[Any, Any]]:
    """Our surrogates and theirs."""
    from spikingjelly.activation_based import surrogate

    return {
        "sigmoid": (Sigmoid(), surrogate.Sigmoid()),
        "sigmoid, less steep": (Sigmoid(1.5), surrogate.Sigmoid(1.5)),
        "atan": (ATan(), surrogate.ATan()),
        "atan, steeper": (ATan(5.0), surrogate.ATan(5.0)),
        "piecewise linear": (PiecewiseLinear(), surrogate.PiecewiseQuadratic()),
        "piecewise linear, narrower": (PiecewiseLinear(0.5), surrogate.PiecewiseQuadratic(2.0)),
        "theirs": (FromSpikeFunction(surrogate.Erf()), surrogate.Erf()),
    }


# Interpreted, Triton would take half a minute to say what test_gradient_backends.py says.
@pytest.mark.parametrize("backend", [name for name in runnable() if name != "triton"])
@pytest.mark.parametrize("detach_reset", [False, True], ids=["attached", "detached"])
@pytest.mark.parametrize("v_reset", [None, 0.0, -0.25])
def test_gradients_of_currents_and_of_the_initial_potential(
    v_reset: float | None, detach_reset: bool, backend: str
) -> None:
    from spikingjelly.activation_based import functional

    for (ours, theirs), theta in product(pairs().values(), (1.0, 0.75)):
        x = (currents(7, 3, 11) * 1.5).requires_grad_()
        v_init = currents(3, 11, seed=3).requires_grad_()
        spikes, v = if_multistep(
            x,
            theta,
            v_init,
            reset="soft" if v_reset is None else "hard",
            v_reset=0.0 if v_reset is None else v_reset,
            return_v="all",
            surrogate=ours,
            detach_reset=detach_reset,
            backend=backend,
        )
        wanted_spikes, _, wanted_v = functional.if_multi_step(
            x,
            v_init,
            theta,
            v_reset,
            theirs,
            detach_reset,
            store_v_seq=True,
        )
        assert torch.equal(spikes, wanted_spikes)
        assert v is not None
        assert torch.equal(v, wanted_v)
        grads = [currents(*x.shape, seed=5), currents(*x.shape, seed=6)]
        # One at a time, too: what is left out counts as nothing.
        for of_spikes, of_v in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
            weighed = [of_spikes * grads[0], of_v * grads[1]]
            got = torch.autograd.grad([spikes, v], [x, v_init], weighed, retain_graph=True)
            wanted = torch.autograd.grad(
                [wanted_spikes, wanted_v], [x, v_init], weighed, retain_graph=True
            )
            for a, b in zip(got, wanted, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6 * b.abs().max().item())


def test_a_network_of_theirs_learns_the_same() -> None:
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    torch.manual_seed(0)
    first, second = layer.Linear(9, 13, step_mode="m"), layer.Linear(13, 4, step_mode="m")
    node = neuron.IFNode(1.0, None, surrogate.ATan(), step_mode="m")
    x = torch.rand(6, 5, 9)
    weights = [*first.parameters(), *second.parameters()]
    functional.reset_net(node)
    wanted = torch.autograd.grad(second(node(first(x))).square().mean(), weights)
    spikes, _ = if_multistep(first(x), 1.0, surrogate=ATan())
    got = torch.autograd.grad(second(spikes).square().mean(), weights)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
