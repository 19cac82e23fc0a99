"""On a GPU every backend gives the gradients that the reference gives on the CPU."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from spikeconv import if_multistep
from spikeconv.surrogate import ATan, Sigmoid
from tests.helpers import assert_same, runnable
from tests.ops.cases import DTYPES, LAYOUTS, SHAPE, affordable, currents, thresholds
from tests.ops.gradient_cases import (
    BIASES,
    Gradient,
    gaussian,
    gradient,
    option_grid,
    random_case,
    rearranged,
)

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
each_backend = pytest.mark.parametrize(
    "backend", runnable(DEVICE) or ["reference", "triton", "cuda"]
)


def check(case: Gradient, backend: str) -> None:
    """Bits as on the CPU; a user's own surrogate is torch's, and the same there to rounding."""
    moved = {
        name: value.to(DEVICE) for name, value in vars(case).items() if isinstance(value, Tensor)
    }
    got, wanted = replace(case, **moved).backward(backend), case.backward("reference")
    for a, b in zip(got, wanted, strict=True):
        if case.options["surrogate"] is gaussian:
            torch.testing.assert_close(a.cpu(), b, rtol=1e-2, atol=1e-4)
        else:
            assert_same(a, b, f"{case.options}")


@each_backend
def test_options_together(backend: str) -> None:
    draw = random.Random(backend)
    combinations = list(product(option_grid(), BIASES, (False, True), DTYPES))
    some = affordable(draw.sample(combinations, 400), backend)
    for options, bias, static, dtype in some:
        shape = (draw.randint(1, 17), 2, 5, 3, 11)
        check(random_case(bias=bias, static=static, dtype=dtype, shape=shape, **options), backend)


@each_backend
def test_layouts_and_sizes(backend: str) -> None:
    for move, dtype in product(LAYOUTS.values(), DTYPES):
        case = random_case(bias="timed", dtype=dtype, surrogate=Sigmoid(), return_v="all")
        check(rearranged(case, x=move, grad_v=move), backend)
        check(rearranged(case, v_threshold=move, bias=move, grad_emitted=move), backend)
    for T, size in product((1, 4, 5, 33), (0, 1, 513, 100_003)):
        operands = (thresholds(size), currents(size, seed=2))
        check(gradient(currents(T, size), *operands, None, surrogate=ATan()), backend)


@each_backend
def test_training_in_a_captured_graph(backend: str) -> None:
    x = currents(*SHAPE).to(DEVICE).requires_grad_()
    theta = thresholds(5, 1, 1).to(DEVICE).requires_grad_()

    def gradients() -> tuple[Tensor, ...]:
        spikes, _ = if_multistep(x, theta, surrogate=ATan(), backend=backend)
        return torch.autograd.grad(spikes.square().sum(), (x, theta))

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        gradients()  # what a first call loads cannot be captured
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = gradients()
    with torch.no_grad():
        x.copy_(currents(*SHAPE, seed=8))
    graph.replay()
    for a, b in zip(captured, gradients(), strict=True):
        assert_same(a, b)
