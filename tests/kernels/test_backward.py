"""The backward kernel reads and writes only what is its own, in every segment of time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spikeconv.kernels import if_multistep_backward
from spikeconv.ops import reference, triton
from spikeconv.ops.call import BackwardCall
from spikeconv.surrogate import ATan, BuiltIn, PiecewiseLinear, Sigmoid
from tests.helpers import assert_same
from tests.kernels.if_case import (
    DEVICE,
    MARGIN,
    POISON,
    currents,
    loads_stay_inside,
    potentials,
    thresholds,
)

OUTPUTS = ("grad_x", "grad_m", "grad_sum", "grad_threshold", "grad_v_init")


def backward_call(
    x: Tensor,
    *,
    T: int | None = None,
    surrogate: BuiltIn | None = None,
    trace: bool = False,
    timed_bias: bool = False,
    **options: bool,
) -> BackwardCall:
    """A call with x `[T, N]`, or `[N]` and T, that wants every gradient; a threshold a neuron."""
    static, steps, N = T is not None, T or len(x), x.shape[-1]
    call = BackwardCall(
        x=x,
        v_threshold=thresholds(N),
        v_init=potentials(1),
        bias=potentials(steps, 1, seed=4) if timed_bias else potentials(N, seed=4),
        count_init=None,
        T=steps,
        static=static,
        hard=False,
        v_reset=-0.25,
        tie_fires=True,
        grad_emitted=currents(steps, N, dtype=x.dtype, seed=5),
        grad_v=currents(steps, N, seed=6) if trace else currents(N, seed=6),
        surrogate=currents(steps, N, seed=7).abs() if surrogate is None else surrogate,
        psp=True,
        trace=trace,
        detach_reset=False,
        grad_x=None if static else torch.empty(steps, N, dtype=x.dtype),
        grad_m=torch.empty(steps, N),
        grad_sum=torch.empty(N),
        grad_threshold=torch.empty(N),
        grad_v_init=torch.empty(N),
    )
    return replace(call, **options)


def check(call: BackwardCall) -> None:
    """Bits as the reference's, and nothing read or written beside."""
    reference.run_backward(call)
    given = {
        name: tensor.to(DEVICE)
        for name, tensor in vars(call).items()
        if isinstance(tensor, Tensor) and name not in OUTPUTS
    }
    buffers, written = {}, {}
    for name in OUTPUTS:
        if (wanted := getattr(call, name)) is not None:
            buffer = torch.empty(wanted.numel() + 2 * MARGIN, dtype=wanted.dtype, device=DEVICE)
            buffer.view(torch.uint8).fill_(POISON)
            buffers[name] = buffer
            written[name] = buffer[MARGIN:-MARGIN].view(wanted.shape)
    # What is noted at the start of a segment is read back from memory of the launcher's own.
    with loads_stay_inside([*given.values()], and_new_memory=True):
        triton.run_backward(replace(call, **given, **written))
    for name, got in written.items():
        assert_same(got, getattr(call, name), name)
        edges = torch.cat((buffers[name][:MARGIN], buffers[name][-MARGIN:]))
        assert (edges.view(torch.uint8) == POISON).all(), f"{name}: written outside"


@pytest.mark.parametrize("N", [1, 513, 1003])
@pytest.mark.parametrize("T", [1, 3, 4, 5, 8, 11])
def test_sizes(T: int, N: int) -> None:
    check(backward_call(currents(T, N), surrogate=ATan()))
    check(backward_call(currents(T, N, dtype=torch.bfloat16), surrogate=Sigmoid(), trace=True))
    check(backward_call(currents(N), T=T, timed_bias=True))


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("tie_fires", [False, True])
def test_options(tie_fires: bool, hard: bool, detach_reset: bool) -> None:
    call = backward_call(
        currents(6, 70),
        surrogate=PiecewiseLinear(2.0),
        tie_fires=tie_fires,
        hard=hard,
        detach_reset=detach_reset,
    )
    check(call)
    check(replace(call, psp=False))
    for name in OUTPUTS:
        check(replace(call, **{name: None}))
    check(replace(call, grad_emitted=None))
    check(replace(call, grad_v=None, bias=None))


def test_indices_beyond_32_bits_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(if_multistep_backward, "NARROW_LIMIT", 0)
    check(backward_call(currents(6, 140)[:, ::2], surrogate=ATan()))


def test_more_dimensions_than_the_kernel_takes() -> None:
    x = currents(2, *[2] * 9).permute(0, *range(9, 0, -1))
    call = backward_call(currents(2, 4), surrogate=ATan())
    outputs = {name: None for name in OUTPUTS}
    nine = {"x": x, "v_threshold": thresholds(), "v_init": potentials(), "bias": None}
    with pytest.raises(ValueError, match="at most 8 neuron dimensions"):
        triton.run_backward(replace(call, **nine, **outputs, grad_emitted=None, grad_v=None))
