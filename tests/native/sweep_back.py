"""Compares a native backward operator with the reference in every combination of options.

`python -m tests.native.sweep_back` does it for the CPU operator and prints the instruction set and
the number of comparisons; SPIKECONV_ISA chooses the set.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from spikeconv.ops import reference
from spikeconv.ops.call import BackwardCall
from spikeconv.ops.native import run_backward_with
from spikeconv.surrogate import ATan, PiecewiseLinear, Sigmoid
from tests.helpers import assert_same
from tests.native import cases
from tests.native.cases import view

Operator = Callable[..., None]

OUTPUTS = ("grad_x", "grad_m", "grad_sum", "grad_threshold", "grad_v_init")

GRADIENTS = torch.cat((torch.arange(-8, 9) / 8, torch.tensor([1e-7, 3e4, -0.0])))
SLOPES = torch.arange(0, 9) / 8


def calls() -> Iterator[BackwardCall]:
    """Every option, dtype, layout and size that native operators tell apart."""
    torch.manual_seed(0)
    # The bias, the shape and whether x is static go round in cycles of 10, 9 and 7.
    options = itertools.product(
        cases.DTYPES,
        (Sigmoid(), ATan(), PiecewiseLinear(2.0), None),
        *[(False, True)] * 5,
    )
    shapes = itertools.cycle(cases.SHAPES[:-1])
    biases = itertools.cycle(cases.BIASES_IN_TIME * 3 + ("none",))
    for i, (dtype, surrogate, hard, tie_fires, psp, trace, detach) in enumerate(options):
        layout, sizes, T = next(shapes)
        case = cases.population(
            dtype,
            min(T, 9),
            sizes,
            layout,
            static=i % 7 == 0,
            signed=False,
            hard=hard,
            bias=next(biases),
            tie_fires=tie_fires,
        )
        yield _call(case, surrogate, psp=psp, trace=trace, detach_reset=detach)


def _call(case: cases.Case, surrogate: Any, **options: bool) -> BackwardCall:
    T, *shape = case.x.shape

    def drawn(values: Tensor, *lead: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return view((*lead, *shape), "dense", values).to(dtype)

    static = case.x.stride(0) == 0
    return BackwardCall(
        x=case.x[0] if static else case.x,
        v_threshold=case.v_threshold,
        v_init=case.v_init,
        bias=case.bias,
        count_init=None,
        T=T,
        static=static,
        hard=case.hard,
        v_reset=case.v_reset,
        tie_fires=case.tie_fires,
        grad_emitted=drawn(GRADIENTS, T, dtype=case.x.dtype),
        grad_v=drawn(GRADIENTS, T) if options["trace"] else drawn(GRADIENTS),
        surrogate=drawn(SLOPES, T) if surrogate is None else surrogate,
        **options,
        grad_x=torch.empty(0) if static else torch.full((T, *shape), torch.nan).to(case.x.dtype),
        grad_m=torch.full((T, *shape), torch.nan),
        grad_sum=torch.full(shape, torch.nan),
        grad_threshold=torch.full(shape, torch.nan),
        grad_v_init=torch.full(shape, torch.nan),
    )


def wanted_parts(call: BackwardCall, i: int) -> BackwardCall:
    """The i-th call with some of its gradients absent, or with all of them."""
    absent = [name for bit, name in enumerate(OUTPUTS) if i >> bit & 1]
    if call.static:
        absent.append("grad_x")
    given = [name for bit, name in enumerate(("grad_emitted", "grad_v")) if i % 5 == bit]
    return replace(call, **dict.fromkeys((*absent, *given)))


def compare(operator: Operator, call: BackwardCall) -> int:
    """Run the operator; raise AssertionError unless its gradients are the reference's."""
    wanted, got = ({name: _copy(getattr(call, name)) for name in OUTPUTS} for _ in range(2))
    reference.run_backward(replace(call, **wanted))
    run_backward_with(operator, replace(call, **got))
    said = f"x {list(call.x.shape)} {call.x.dtype} {call.x.stride()}, T {call.T}, {call.surrogate}"
    for name, tensor in got.items():
        assert_same(tensor, wanted[name], f"{name}, {said}")
    return sum(tensor is not None for tensor in got.values())


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()


def sweep(operator: Operator) -> int:
    """Compare every call; return how many gradients there were."""
    return sum(
        compare(operator, wanted_parts(call, 0 if i % 3 else i // 3))
        for i, call in enumerate(calls())
    )


if __name__ == "__main__":
    importlib.import_module("spikeconv._C")
    native = torch.ops.spikeconv
    print(native._cpu_isa(), sweep(native._if_backward_cpp))
