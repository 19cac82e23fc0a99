"""Training keeps x and the parameters, by reference, and the way back makes gradients only."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from spikeconv import if_multistep
from spikeconv.surrogate import ATan
from tests.ops.cases import LAYOUTS, currents, thresholds
from tests.ops.gradient_cases import gaussian

SHAPE = (4, 5, 16, 16)  # [B, C, H, W]
NEURONS = 4 * 5 * 16 * 16
T = 8

# Bytes that a call may take for numbers that became tensors, and for sums over them.
SMALL = 1024


def kept(x: Tensor, **arguments: Any) -> list[Tensor]:
    """What a forward pass keeps for its backward pass."""
    tensors: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if_multistep(x, **arguments)
    return tensors


def test_what_is_kept_is_what_was_given() -> None:
    x, static = currents(T, *SHAPE), currents(*SHAPE)
    theta, bias = thresholds(5, 1, 1), currents(T, 1, 5, 1, 1)
    v_init = currents(16, 16)
    for current, steps in ((x, None), (static, T)):
        given = [t.detach().requires_grad_() for t in (current, theta, v_init, bias)]
        names = ("v_threshold", "v_init", "bias")
        arguments = dict(zip(names, given[1:], strict=True))
        tensors = kept(given[0], **arguments, T=steps, surrogate=ATan(), return_v="all")
        assert [t.data_ptr() for t in tensors] == [t.data_ptr() for t in given]


def test_nothing_is_kept_that_no_gradient_needs() -> None:
    x = currents(T, *SHAPE).requires_grad_()
    assert kept(x) == []
    assert kept(x.detach(), surrogate=ATan()) == []
    with torch.no_grad():
        assert kept(x, surrogate=ATan()) == []


def test_a_surrogate_of_ones_own_is_kept_as_its_derivative() -> None:
    x = currents(T, *SHAPE).bfloat16().requires_grad_()
    big = [tensor for tensor in kept(x, surrogate=gaussian) if tensor.numel() > 1]
    assert [(tensor.dtype, tensor.numel()) for tensor in big] == [
        (torch.bfloat16, T * NEURONS),
        (torch.float32, T * NEURONS),
    ]


# The profiler says once a process that it forgets; it is read before it does.
@pytest.mark.filterwarnings("ignore:.*Profiler clears events:UserWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_way_back_makes_gradients_and_nothing_else(layout: str) -> None:
    for static, dtype in itertools.product((False, True), (torch.float32, torch.bfloat16)):
        shape = SHAPE if static else (T, *SHAPE)
        x = LAYOUTS[layout](currents(*shape, dtype=dtype)).requires_grad_()
        spikes, _ = if_multistep(
            x, 0.75, T=T if static else None, surrogate=ATan(), return_v=None, backend="cpp"
        )
        grad = torch.ones_like(spikes)
        torch.autograd.grad(spikes, x, grad, retain_graph=True)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            torch.autograd.grad(spikes, x, grad)
        events = record.profiler.kineto_results.events()
        taken = sum(max(event.nbytes(), 0) for event in events if event.name() == "[memory]")
        wanted = x.numel() * x.element_size()
        # Of a current that stays the gradient is a sum over time, in float32, and then rounded.
        wanted += 4 * x.numel() if static and dtype == torch.bfloat16 else 0
        assert wanted <= taken <= wanted + SMALL, (static, dtype)
