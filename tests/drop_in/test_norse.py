"""Norse 1.1.0: IAF and IAFCell, which fire above the threshold and hand their state around."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode, replace_neurons
from tests.drop_in.libraries import (
    SHAPES,
    assert_equal,
    gradients,
    library,
    reasons,
    replaced,
    steps,
)

pytestmark = pytest.mark.norse

norse: Any = library("norse.torch")
iaf: Any = library("norse.torch.functional.iaf")


def parameters(dims: int) -> list[Any]:
    """Default ones, a reset elsewhere, thresholds of each channel."""
    theta = torch.tensor([0.3, 0.5, 1.0, 1.25, 2.0]).view(-1, *[1] * (dims - 2))
    return [
        iaf.IAFParameters(v_reset=torch.tensor(0.0)),
        iaf.IAFParameters(v_th=torch.tensor(0.7), v_reset=torch.tensor(-0.3)),
        iaf.IAFParameters(v_th=theta, v_reset=torch.tensor(0.25)),
    ]


def in_time(layer: nn.Module, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """All steps, by a layer for all or by a cell."""
    if isinstance(layer, norse.IAF):
        return layer(x, state)  # type: ignore[no-any-return]
    spikes = []
    for current in x:
        z, state = layer(current, state)
        spikes.append(z)
    return torch.stack(spikes), state


@pytest.mark.parametrize("kind", ["IAF", "IAFCell"])
def test_spikes_and_states_are_equal(kind: str) -> None:
    for shape in SHAPES:
        for p in parameters(len(shape)):
            theirs = getattr(norse, kind)(p)
            mine = replaced(theirs)
            state = their_state = None
            with torch.no_grad():
                for seed in range(3):
                    x = steps(*shape, seed=seed)
                    z, state = in_time(mine, x, state)
                    their_z, their_state = in_time(theirs, x, their_state)
                    assert_equal((z, state), (their_z, their_state))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", ["IAF", "IAFCell"])
def test_dtypes_mix_as_they_did(kind: str, dtype: torch.dtype) -> None:
    theirs = getattr(norse, kind)(parameters(2)[1])
    mine = replaced(theirs)
    state = their_state = None
    with torch.no_grad():
        for seed in range(2):
            x = steps(3, 5, seed=seed).to(dtype)
            z, state = in_time(mine, x, state)
            their_z, their_state = in_time(theirs, x, their_state)
            assert_equal((z, state), (their_z, their_state))
        wide = iaf.IAFFeedForwardState(torch.zeros(3, 5, dtype=torch.float64))
        x = steps(3, 5)
        assert_equal(in_time(mine, x, wide), in_time(theirs, x, wide))


def test_our_node_fires_the_same_spikes_above_the_threshold_only() -> None:
    x = (steps(3, 5, T=20) * 8).round() / 8
    with torch.no_grad():
        spikes, _ = norse.IAF(parameters(2)[0])(x)
    assert torch.equal(IFNode(v_reset=0, fires="gt")(x), spikes)
    assert not torch.equal(IFNode(v_reset=0)(x), spikes)


def test_states_of_all_steps_are_recorded() -> None:
    theirs = norse.IAF(parameters(2)[1])
    theirs.record_states = True
    x = steps(3, 5)
    with torch.no_grad():
        assert_equal(replaced(theirs)(x), theirs(x))


def test_a_state_that_broadcasts_does_as_it_did() -> None:
    theirs = norse.IAF(parameters(2)[1])
    mine = replaced(theirs)
    x = steps(3, 5)
    with torch.no_grad():
        for v in (torch.tensor(0.5), torch.full((5,), 0.5), torch.full((2, 3, 5), 0.5)):
            state = iaf.IAFFeedForwardState(v)
            assert_equal(mine(x, state), theirs(x, state))
        state = iaf.IAFFeedForwardState(torch.zeros(4, 5))
        with pytest.raises(RuntimeError, match="must match the size"):
            mine(x, state)


def test_their_containers_hand_the_state_to_ours() -> None:
    net = norse.SequentialState(nn.Linear(5, 5), norse.IAFCell(parameters(2)[1]), nn.Linear(5, 2))
    lifted = norse.Lift(norse.IAFCell(parameters(2)[2]))
    x = steps(3, 5)
    mine, mine_lifted = replaced(net), replaced(lifted)
    state = their_state = None
    with torch.no_grad():
        for current in x:
            out, state = mine(current, state)
            their_out, their_state = net(current, their_state)
            assert_equal((out, state), (their_out, their_state))
        assert_equal(mine_lifted(x), lifted(x))


@pytest.mark.parametrize("kind", ["IAF", "IAFCell"])
@pytest.mark.parametrize("method", ["super", "triangle", "tanh", "circ", "heavi_erfc"])
def test_gradients_are_theirs(method: str, kind: str) -> None:
    theta = torch.tensor(0.75, requires_grad=True)
    p = iaf.IAFParameters(theta, torch.tensor(-0.25), method, torch.tensor(0.8))
    theirs = getattr(norse, kind)(p)
    mine = replaced(theirs)
    x = steps(3, 5)
    spikes, gradient = gradients(mine, x, lambda net, x: in_time(net, x)[0])
    their_spikes, their_gradient = gradients(theirs, x, lambda net, x: in_time(net, x)[0])
    assert_equal(spikes, their_spikes)
    assert their_gradient.abs().max() > 0.1
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mine.p.v_th.grad, theirs.p.v_th.grad, rtol=1e-5, atol=1e-5)


def test_what_changes_later_counts() -> None:
    p = iaf.IAFParameters(v_th=torch.tensor(0.5), v_reset=torch.tensor(0.0))
    theirs = norse.IAF(p)
    mine = replaced(theirs)
    x = steps(3, 5)
    with torch.no_grad():
        assert_equal(mine(x), theirs(x))
        for net in (mine, theirs):
            net.p.v_th.fill_(0.8)
            net.p.v_reset.fill_(-0.5)
        assert_equal(mine(x), theirs(x))
        for net in (mine, theirs):
            net.p = iaf.IAFParameters(v_th=torch.tensor(-1.0))  # which ours refuses
        assert_equal(mine(x), theirs(x))


def test_copies() -> None:
    x = steps(3, 5)
    for kind in ("IAF", "IAFCell"):
        mine = replaced(getattr(norse, kind)(parameters(2)[1]))
        for twin in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
            assert type(twin) is type(mine)
            with torch.no_grad():
                assert_equal(in_time(twin, x), in_time(mine, x))


def test_what_means_something_else_is_left_with_the_reason() -> None:
    class Own(norse.IAFCell):  # type: ignore[misc]
        def initial_state(self, x: Tensor) -> Any:
            return iaf.IAFFeedForwardState(torch.ones_like(x))

    cases = [
        (norse.LIF(), "LIF is no plain IF neuron"),
        (norse.LIFCell(), "LIFCell is no plain IF neuron"),
        (norse.LIFBoxCell(), "LIFBoxCell is no plain IF neuron"),
        (norse.IAF(iaf.IAFParameters(v_reset=nn.Parameter(torch.tensor(0.0)))), "is learned"),
        (norse.IAF(iaf.IAFParameters(v_reset=torch.zeros(5))), "v_reset is no finite number"),
        (norse.IAF(iaf.IAFParameters(v_th=torch.tensor(0.0))), "v_th must be positive"),
        (Own(), "Own is IAFCell with its own initial_state"),
    ]
    for module, why in cases:
        before = type(module)
        assert why in reasons(module)[0]
        assert type(module) is before


def test_the_default_parameters_are_not_changed() -> None:
    # Norse's own forward makes its default reset potential require a gradient, for all layers.
    p = iaf.IAFParameters(v_reset=torch.tensor(0.0))
    layer = norse.IAF(p)
    replace_neurons(layer)
    layer(steps(3, 5))
    assert not p.v_reset.requires_grad
