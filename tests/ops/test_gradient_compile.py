"""Training under torch.compile: one graph forwards and back, and the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from spikeconv import if_multistep
from spikeconv.surrogate import ATan, Surrogate
from tests.fixtures import nothing_compiled as nothing_compiled
from tests.helpers import runnable
from tests.ops.cases import LAYOUTS, SHAPE, currents, thresholds
from tests.ops.gradient_cases import SURROGATES, gaussian

# torch's own, from the depths of its compiler.
pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")


class Own(Surrogate):
    """A subclass, with a parameter of its own."""

    def __init__(self, width: float) -> None:
        self.width = width

    def derivative(self, u: Tensor) -> Tensor:
        return gaussian(u / self.width)


Loss = Callable[..., Tensor]


def check(loss: Loss, calls: list[tuple[Tensor, ...]], backend: str = "aot_eager") -> None:
    """Compiled, `loss` has the gradients it has otherwise, for one graph all in all."""
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    for given in calls:
        operands = [tensor.detach().requires_grad_() for tensor in given]
        got = torch.autograd.grad(compiled(*operands), operands)
        wanted = torch.autograd.grad(loss(*operands), operands)
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
            assert a.stride() == b.stride()
    assert counter.frame_count <= 2  # static sizes at first, then any


@pytest.mark.parametrize("name", [*SURROGATES, "subclass"])
def test_every_kind_of_surrogate(name: str) -> None:
    surrogate: Any = {**SURROGATES, "subclass": Own(2.0)}[name]

    def loss(x: Tensor, theta: Tensor, bias: Tensor) -> Tensor:
        psp, v = if_multistep(x * 2, theta, 0.25, bias, emit="psp", surrogate=surrogate)
        assert v is not None
        return (psp * psp).sum() + v.sum()

    check(loss, [(currents(3, B, 5), thresholds(5), currents(3, 1, 5)) for B in (2, 3, 4, 5)])


def test_a_surrogate_made_on_the_way() -> None:
    def loss(x: Tensor) -> Tensor:
        return if_multistep(x, surrogate=ATan(3.0), detach_reset=True)[0].square().sum()

    check(loss, [(currents(3, 4),)])


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "every_other"])
def test_gradients_have_the_predicted_strides(layout: str, backend: str) -> None:
    def loss(x: Tensor, theta: Tensor, v_init: Tensor) -> Tensor:
        emitted, v = if_multistep(
            x, theta, v_init, return_v="all", surrogate=ATan(), backend=backend
        )
        assert v is not None
        return (emitted * v).sum()

    move = LAYOUTS[layout]
    check(loss, [(move(currents(*SHAPE)), thresholds(5, 1, 1), move(currents(*SHAPE[1:])))])


def test_static_currents_and_new_numbers_of_steps() -> None:
    def loss(x: Tensor, T: int) -> Tensor:
        return if_multistep(x, T=T, surrogate=ATan())[0].sum()

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    for T in range(2, 9):
        x = currents(5).requires_grad_()
        got, wanted = (torch.autograd.grad(f(x, T), x)[0] for f in (compiled, loss))
        assert torch.equal(got, wanted)
    assert counter.frame_count <= 2


# Both only save time: which vector instructions there are is found out by running programs.
@torch._inductor.config.patch({"cpp.vec_isa_ok": False, "cpp_cache_precompile_headers": False})
def test_inductor_trains_a_network() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(6, 5), nn.Linear(5, 2)

    def loss(x: Tensor) -> Tensor:
        spikes, _ = if_multistep(first(x), 0.5, T=3, surrogate=gaussian)
        return second(spikes).square().mean()

    x = currents(4, 6)
    weights = [*first.parameters(), *second.parameters()]
    wanted = torch.autograd.grad(loss(x), weights)
    compiled = torch.compile(loss, backend="inductor", fullgraph=True)
    for got, of_eager in zip(torch.autograd.grad(compiled(x), weights), wanted, strict=True):
        torch.testing.assert_close(got, of_eager, rtol=1e-4, atol=1e-6)
