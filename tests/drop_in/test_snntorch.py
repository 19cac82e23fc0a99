"""snnTorch 1.0.0: Leaky with beta = 1 gives equal spikes, potentials and gradients."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode, replace_neurons
from tests.drop_in.libraries import (
    assert_equal,
    gradients,
    library,
    reasons,
    replaced,
    steps,
)

pytestmark = pytest.mark.snntorch

snn: Any = library("snntorch")
surrogate: Any = library("snntorch.surrogate")
utils: Any = library("snntorch.utils")

KINDS = [
    {"reset_mechanism": mechanism, "reset_delay": delay}
    for mechanism, delay in itertools.product(("subtract", "zero"), (True, False))
]
THRESHOLDS = [1.0, 0.37, torch.tensor([0.3, 0.5, 1.0, 1.25, 2.0])]


def by_hand(lif: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """A user's loop over time: spikes and potentials of every step."""
    mem = lif.init_leaky()  # type: ignore[operator]
    out = []
    for current in x:
        spk, mem = lif(current, mem)
        out.append((spk, mem))
    spikes, potentials = zip(*out, strict=True)
    return torch.stack(spikes), torch.stack(potentials)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threshold", THRESHOLDS, ids=["one", "number", "tensor"])
def test_spikes_and_potentials_are_equal(threshold: Any, kind: dict[str, Any]) -> None:
    for shape in ((2, 5), (3, 4, 5), (2, 3, 4, 5)):  # the thresholds lie along the last one
        theirs = snn.Leaky(beta=1.0, threshold=threshold, **kind)
        mine = replaced(theirs)
        assert isinstance(mine, snn.Leaky)
        with torch.no_grad():
            for seed in range(2):
                x = steps(*shape, T=12, seed=seed)
                assert_equal(by_hand(mine, x), by_hand(theirs, x))
                assert_equal(mine.mem, theirs.mem)
                assert_equal(mine.reset, theirs.reset)


@pytest.mark.parametrize("kind", KINDS)
def test_strong_currents_infinity_and_nan_too(kind: dict[str, Any]) -> None:
    # Above twice the threshold reset_delay=False does what no other neuron does: it is kept.
    theirs = snn.Leaky(beta=1.0, **kind)
    mine = replaced(theirs)
    x = steps(4, 5, T=9) * 5
    x[1, 0] = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e38, 0.0])
    with torch.no_grad():
        for mine_and_theirs in zip(by_hand(mine, x), by_hand(theirs, x), strict=True):
            torch.testing.assert_close(*mine_and_theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_dtypes_mix_as_they_did(kind: dict[str, Any], dtype: torch.dtype) -> None:
    theirs = snn.Leaky(beta=1.0, threshold=0.37, **kind)
    mine = replaced(theirs)
    x = steps(3, 5).to(dtype)
    with torch.no_grad():
        assert_equal(by_hand(mine, x), by_hand(theirs, x))


def test_our_operator_fires_the_same_spikes_above_the_threshold_only() -> None:
    # In eighths nothing is rounded, so that the order of the additions does not matter.
    x = (steps(3, 5, T=20) * 8).round() / 8
    for mechanism, v_reset in (("subtract", None), ("zero", 0.0)):
        theirs = snn.Leaky(beta=1.0, reset_mechanism=mechanism)
        spikes = by_hand(theirs, x)[0]
        assert torch.equal(IFNode(v_reset=v_reset, fires="gt")(x), spikes)
        assert not torch.equal(IFNode(v_reset=v_reset)(x), spikes)


@pytest.mark.parametrize("output", [False, True])
def test_a_hidden_state_is_kept_found_and_reset(output: bool) -> None:
    # Both are constructed: snnTorch resets what was, and no copies.
    net, mine = (
        nn.Sequential(snn.Leaky(beta=1.0, init_hidden=True, output=output)) for _ in range(2)
    )
    replace_neurons(mine)
    x = steps(3, 5)
    for _ in range(2):
        utils.reset(mine)
        utils.reset(net)
        for current in x:
            assert_equal(mine(current), net(current))
        assert_equal(mine[0].mem, net[0].mem)
        assert mine[0].mem.any()
    with pytest.raises(TypeError, match="init_hidden=True"):
        mine[0](x[0], x[0])


def test_the_state_there_was_is_gone_on_from() -> None:
    net = nn.Sequential(snn.Leaky(beta=1.0, init_hidden=True))
    x = steps(3, 5)
    for current in x:
        net(current)
    mine = copy.deepcopy(net)
    replace_neurons(mine)
    for current in x:
        assert_equal(mine(current), net(current))


def test_another_batch_shape_is_an_error_until_reset() -> None:
    lif = replaced(snn.Leaky(beta=1.0))
    mem = lif.init_leaky()
    _, mem = lif(torch.full((4, 5), 0.5), mem)
    with pytest.raises(ValueError, match=r"Leaky: .*\[4, 5\] neurons.*got \[2, 5\].*utils.reset"):
        lif(torch.ones(2, 5), mem)
    lif.reset_mem()
    spk, _ = lif(torch.ones(2, 5))  # zeros of another shape are no state
    assert spk.shape == (2, 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        *("atan", "fast_sigmoid", "sigmoid", "triangular", "straight_through_estimator"),
        *("heaviside", "spike_rate_escape", "SFS"),
    ],
)
def test_gradients_are_theirs(name: str, kind: dict[str, Any]) -> None:
    # Its own slope of 25 overflows.
    function = getattr(surrogate, name)(**({"slope": 5} if name == "sigmoid" else {}))
    theirs = snn.Leaky(beta=1.0, threshold=0.75, spike_grad=function, learn_threshold=True, **kind)
    mine = replaced(theirs)
    x = steps(3, 5)

    def call(lif: nn.Module, x: Tensor) -> Tensor:
        return by_hand(lif, x)[0]

    assert_equal(gradients(mine, x, call), gradients(theirs, x, call))
    assert_equal(mine.threshold.grad, theirs.threshold.grad)


def test_a_function_of_ones_own_is_a_step_too() -> None:
    function = surrogate.custom_surrogate(lambda u, grad, spikes: grad * torch.exp(-u.abs()))
    theirs = snn.Leaky(beta=1.0, spike_grad=function)
    mine = replaced(theirs)
    x = steps(3, 5)
    pair = (gradients(net, x, lambda net, x: by_hand(net, x)[0]) for net in (mine, theirs))
    assert_equal(*pair)


def test_checkpoints_are_what_they_were_and_their_beta_counts() -> None:
    lif = replaced(snn.Leaky(beta=1.0))
    leaky = snn.Leaky(beta=0.5)
    assert lif.state_dict().keys() == leaky.state_dict().keys()
    lif.load_state_dict(leaky.state_dict())  # now it leaks, as the original would
    x = steps(3, 5)
    with torch.no_grad():
        assert_equal(by_hand(lif, x), by_hand(leaky, x))
        lif.beta.fill_(1.0)
        lif.threshold = torch.tensor(0.5)
        assert_equal(by_hand(lif, x), by_hand(snn.Leaky(beta=1.0, threshold=0.5), x))


def test_copies_go_their_own_way() -> None:
    lif = replaced(
        snn.Leaky(beta=1.0, init_hidden=True, spike_grad=snn.SpikingNeuron._surrogate_bypass)
    )
    x = steps(3, 5)
    lif(x[0])
    for twin in (copy.deepcopy(lif), pickle.loads(pickle.dumps(lif))):
        assert type(twin) is type(lif)
        twin(x[1])
        assert not torch.equal(twin.mem, lif.mem)
        twin.mem.copy_(lif.mem)
        assert_equal(twin(x[2]), copy.deepcopy(lif)(x[2]))


def test_what_means_something_else_is_left_with_the_reason() -> None:
    class Own(snn.Leaky):  # type: ignore[misc]
        def fire(self, mem: Tensor) -> Tensor:
            return mem

    changed = snn.Leaky(beta=1.0)
    changed.reset_mechanism = "zero"  # which snnTorch itself takes half of
    cases = [
        (snn.Leaky(beta=0.9), "it leaks (beta = 0.9)"),
        (snn.Leaky(beta=torch.tensor([1.0, 0.5])), "it leaks (beta = 0.5)"),
        (snn.Leaky(beta=1.0, learn_beta=True), "is learned"),
        (snn.Leaky(beta=1.0, learn_graded_spikes_factor=True), "is learned"),
        (snn.Leaky(beta=1.0, graded_spikes_factor=2.0), "graded_spikes_factor is not 1"),
        (snn.Leaky(beta=1.0, reset_mechanism="none"), "reset_mechanism is 'none'"),
        (snn.Leaky(beta=1.0, state_quant=torch.round), "state_quant"),
        (snn.Leaky(beta=1.0, spike_grad=torch.sigmoid), "spike_grad is a function of its own"),
        (snn.Leaky(beta=1.0, spike_grad=surrogate.LSO()), "spike_grad"),
        (changed, "changed after construction"),
        (Own(beta=1.0), "Own is Leaky with its own fire"),
        (snn.Synaptic(alpha=0.9, beta=1.0), "Synaptic is no plain IF neuron"),
        (snn.RLeaky(beta=1.0, linear_features=3), "RLeaky is no plain IF neuron"),
    ]
    with pytest.warns(UserWarning, match="Inhibition"):
        cases.append((snn.Leaky(beta=1.0, inhibition=True), "inhibition"))
    for module, why in cases:
        before = type(module)
        assert why in reasons(module)[0]
        assert type(module) is before


def test_a_beta_above_one_is_one_as_they_clamp_it() -> None:
    theirs = snn.Leaky(beta=1.5)
    x = steps(3, 5)
    with torch.no_grad():
        assert_equal(by_hand(replaced(theirs), x), by_hand(theirs, x))


def test_compiled_code_gives_the_same() -> None:
    torch._dynamo.reset()
    theirs = snn.Leaky(beta=1.0)
    mine = replaced(theirs)
    compiled = torch.compile(mine, backend="aot_eager")
    mem = torch.zeros(3, 5)
    with torch.no_grad():
        for current in steps(3, 5):
            wanted = theirs(current, mem)
            assert_equal(compiled(current, mem), wanted)
            mem = wanted[1]
    torch._dynamo.reset()
