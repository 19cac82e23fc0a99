"""What the gradients are: those that autograd finds in a loop whose step has the surrogate."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from spikeconv import if_multistep
from spikeconv.surrogate import ATan, PiecewiseLinear, Sigmoid
from tests.helpers import runnable
from tests.ops.cases import currents
from tests.ops.gradient_cases import BIASES, Spike, loop, option_grid, random_case

# The smooth steps whose derivatives the surrogates are.
SMOOTH = {
    Sigmoid(): lambda u: torch.sigmoid(4 * u),
    ATan(): lambda u: torch.atan(math.pi * u) / math.pi + 0.5,
    PiecewiseLinear(8.0): lambda u: 0.5 + u / 8 * (1 - u.abs() / 16),
}


@pytest.mark.parametrize("static", [False, True], ids=["timed", "static"])
@pytest.mark.parametrize("bias", BIASES)
def test_float64_equals_autograd_of_a_loop(bias: str, static: bool) -> None:
    for options in option_grid():
        if options["return_v"] != "all" or options["fires"] != "ge":
            continue
        case = random_case(bias=bias, static=static, dtype=torch.float64, **options)
        operands = case.operands()
        surrogate = options["surrogate"]
        spoken = {name: options[name] for name in ("reset", "v_reset", "detach_reset", "emit")}
        emitted, trace = loop(
            *operands,
            step=lambda u, surrogate=surrogate: Spike.apply(u, surrogate),
            T=case.options.get("T"),
            **spoken,
        )
        wanted = torch.autograd.grad(
            (emitted, trace), operands, (case.grad_emitted, case.grad_v), allow_unused=True
        )
        for got, of_loop in zip(case.backward("reference"), wanted, strict=True):
            torch.testing.assert_close(got, of_loop, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("surrogate", SMOOTH, ids=str)
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_the_loop_itself_is_differentiated_rightly(surrogate: object, reset: str) -> None:
    # The smooth path: with the surrogate's own function as the step, the same loop is smooth, and
    # numerical derivatives exist. What the test above compares with is this loop and no other.
    operands = random_case(bias="timed", dtype=torch.float64, shape=(4, 1, 2, 3)).operands()
    for emit in ("spikes", "psp"):

        def smooth(*operands: Tensor, emit: str = emit) -> tuple[Tensor, Tensor]:
            step = SMOOTH[surrogate]  # type: ignore[index]
            return loop(*operands, step=step, reset=reset, v_reset=-0.25, emit=emit)

        assert torch.autograd.gradcheck(smooth, operands)

        def with_surrogate(*operands: Tensor, emit: str = emit) -> tuple[Tensor, Tensor]:
            function = SMOOTH[surrogate]  # type: ignore[index]

            def step(u: Tensor) -> Tensor:
                spikes = Spike.apply(u, surrogate)
                return spikes + (function(u) - spikes).detach()  # smooth values, its derivative

            return loop(*operands, step=step, reset=reset, v_reset=-0.25, emit=emit)

        assert torch.autograd.gradcheck(with_surrogate, operands)


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("bias", BIASES)
def test_gradcheck_of_the_operator_where_no_spike_changes(reset: str, bias: str) -> None:
    # Off the thresholds the potentials are smooth and spikes constant: no surrogate takes part.
    operands = random_case(bias=bias, dtype=torch.float64, shape=(4, 1, 3, 2)).operands()
    with torch.no_grad():
        operands[0].add_(1e-3 * currents(*operands[0].shape, seed=9))  # away from the ties

    for emit in ("spikes", "psp"):

        def potentials(*operands: Tensor, emit: str = emit) -> tuple[Tensor, Tensor]:
            emitted, trace = if_multistep(
                *operands,
                reset=reset,
                v_reset=-0.25,
                emit=emit,
                return_v="all",
                surrogate=torch.zeros_like,
            )
            assert trace is not None
            return emitted, trace

        assert torch.autograd.gradcheck(potentials, operands)


@pytest.mark.parametrize("backend", runnable())
def test_by_hand(backend: str) -> None:
    # theta 1, h(u) = max(0, 1 - |u|). m: 0.5, 1.25 (fires), 0.75; u: -0.5, 0.25, -0.25;
    # h: 0.5, 0.75, 0.75. Gradients of the spikes 1, 10, 100, of m from the last step on:
    # soft: 75; 75 + (10 - 75) * 0.75 = 26.25; 26.25 + (1 - 26.25) * 0.5 = 13.625.
    values = [0.5, 0.75, 0.5]
    wanted = {
        ("soft", False): [13.625, 26.25, 75.0],
        # No gradient through the reset: 75; 75 + 7.5; 82.5 + 0.5.
        ("soft", True): [83.0, 82.5, 75.0],
        # The potential of 1.25 goes to 0, so the last m is 0.5 and its h 0.5:
        # 50; 0 + (10 - 1.25 * 50) * 0.75 = -39.375; that + (1 - 0.5 * -39.375) * 0.5.
        ("hard", False): [-29.03125, -39.375, 50.0],
        # 50; 0 + 7.5; 7.5 + 0.5.
        ("hard", True): [8.0, 7.5, 50.0],
    }
    for (reset, detach), gradient in wanted.items():
        x = torch.tensor(values, requires_grad=True)
        v_init = torch.tensor(0.0, requires_grad=True)
        bias = torch.tensor(0.0, requires_grad=True)
        spikes, _ = if_multistep(
            x,
            1.0,
            v_init,
            bias,
            reset=reset,
            surrogate=PiecewiseLinear(),
            detach_reset=detach,
            backend=backend,
        )
        assert spikes.tolist() == [0.0, 1.0, 0.0]
        spikes.backward(torch.tensor([1.0, 10.0, 100.0]))
        assert x.grad is not None and v_init.grad is not None and bias.grad is not None
        assert x.grad.tolist() == gradient, (reset, detach)
        assert v_init.grad.item() == gradient[0]
        assert bias.grad.item() == sum(gradient)


@pytest.mark.parametrize("backend", runnable())
def test_thresholds_by_hand(backend: str) -> None:
    # One step, theta 2, m = 2.5 fires: u = 0.5, h = 0.5. Gradient of the emission 4, of v 8.
    for emit, reset, detach, wanted in [
        # s: -(4 - 2 * 8) * 0.5 - 8, and without the way through the reset -4 * 0.5 - 8.
        ("spikes", "soft", False, -2.0),
        ("spikes", "soft", True, -10.0),
        # theta * s: -(2 * 4 - 2 * 8) * 0.5 - 8 + 4, and -(2 * 4) * 0.5 - 8 + 4.
        ("psp", "soft", False, 0.0),
        ("psp", "soft", True, -8.0),
        # To 0: -(4 + (0 - 2.5) * 8) * 0.5, and -4 * 0.5.
        ("spikes", "hard", False, 8.0),
        ("spikes", "hard", True, -2.0),
    ]:
        theta = torch.tensor(2.0, requires_grad=True)
        emitted, v = if_multistep(
            torch.tensor([2.5]),
            theta,
            emit=emit,
            reset=reset,
            surrogate=PiecewiseLinear(),
            detach_reset=detach,
            backend=backend,
        )
        assert v is not None
        torch.autograd.backward([emitted, v], [torch.tensor([4.0]), torch.tensor(8.0)])
        assert theta.grad is not None
        assert theta.grad.item() == wanted, (emit, reset, detach)


@pytest.mark.parametrize("backend", runnable())
def test_a_shared_threshold_and_a_current_that_stays_add_up(backend: str) -> None:
    # Three neurons, two steps of the same current 1, u = 0 at both, h = 1: each spike hands its
    # gradient on to m, less what the reset takes back.
    x = torch.ones(3, requires_grad=True)
    theta = torch.ones(1, requires_grad=True)
    spikes, _ = if_multistep(x, theta, T=2, surrogate=PiecewiseLinear(), backend=backend)
    spikes.sum().backward()
    assert x.grad is not None and theta.grad is not None
    # Step 2: 1; step 1: 1 + (1 - 1) = 1.
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    # -1 at step 2; -(1 - 1) - 1 at step 1; three times.
    assert theta.grad.tolist() == [-6.0]


@pytest.mark.parametrize("backend", runnable())
def test_any_function_is_a_surrogate(backend: str) -> None:
    seen: list[Tensor] = []

    def constant(u: Tensor) -> Tensor:
        seen.append(u)
        return torch.full_like(u, 0.5)

    x = torch.tensor([[0.5], [0.75]], requires_grad=True)
    spikes, _ = if_multistep(x, 1.0, surrogate=constant, backend=backend)
    assert [u.flatten().tolist() for u in seen] == [[-0.5, 0.25]]
    spikes.sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.75, 0.5]
    with torch.no_grad():
        if_multistep(x, 1.0, surrogate=constant, backend=backend)
    if_multistep(x.detach(), 1.0, surrogate=constant, backend=backend)
    assert len(seen) == 1


@pytest.mark.parametrize("backend", runnable())
def test_potentials_have_gradients_whatever_is_emitted(backend: str) -> None:
    for emit, return_v in product(("uint8", "words", "count"), ("last", "all")):
        x = torch.tensor([[0.25], [0.5]], requires_grad=True)
        emitted, v = if_multistep(
            x, 1.0, emit=emit, return_v=return_v, surrogate=torch.zeros_like, backend=backend
        )
        assert not emitted.requires_grad
        assert v is not None
        v.sum().backward()
        assert x.grad is not None
        assert x.grad.flatten().tolist() == ([1.0, 1.0] if return_v == "last" else [2.0, 1.0])
