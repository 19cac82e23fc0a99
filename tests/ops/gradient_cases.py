"""Gradients of `if_multistep`: a loop that autograd differentiates, random calls, comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from spikeconv import if_multistep
from spikeconv.surrogate import ATan, PiecewiseLinear, Sigmoid
from tests.helpers import assert_same
from tests.ops.cases import currents, thresholds

Step = Callable[[Tensor], Tensor]


def gaussian(u: Tensor) -> Tensor:
    """A user's own surrogate."""
    return torch.exp(-u * u)


SURROGATES = {
    "sigmoid": Sigmoid(),
    "atan": ATan(),
    "piecewise_linear": PiecewiseLinear(1.5),
    "own": gaussian,
}


class Spike(torch.autograd.Function):
    """The step at 0, with a surrogate for its derivative."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Step) -> Tensor:
        ctx.save_for_backward(surrogate(u.detach()))
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.saved_tensors[0], None


def loop(
    x: Tensor,
    v_threshold: Tensor,
    v_init: Tensor,
    bias: Tensor | None = None,
    *,
    step: Step,
    T: int | None = None,
    reset: str = "soft",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    emit: str = "spikes",
) -> tuple[Tensor, Tensor]:
    """The neuron as a loop of torch's operations: emissions and potentials `[T, *]`."""
    steps = len(x) if T is None else T
    v, emitted, trace = v_init, [], []
    for t in range(steps):
        m = v + (x[t] if T is None else x)
        if bias is not None:
            m = m + (bias[t] if bias.dim() == m.dim() + 1 else bias)
        s = step(m - v_threshold)
        reset_by = s.detach() if detach_reset else s
        if reset == "soft":
            v = m - v_threshold * reset_by
        else:
            v = (1 - reset_by) * m + v_reset * reset_by
        emitted.append(v_threshold * s if emit == "psp" else s)
        trace.append(v)
    return torch.stack(emitted), torch.stack(trace)


@dataclass(frozen=True)
class Gradient:
    """A call, and the gradients of what it returns; `backward` gives those of its operands."""

    x: Tensor
    v_threshold: Tensor
    v_init: Tensor
    bias: Tensor | None
    grad_emitted: Tensor | None
    grad_v: Tensor | None
    options: dict[str, Any] = field(default_factory=dict)

    def operands(self) -> list[Tensor]:
        """Leaves that want a gradient, with the strides of those given."""
        given = (self.x, self.v_threshold, self.v_init, self.bias)
        return [tensor.detach().requires_grad_() for tensor in given if tensor is not None]

    def backward(self, backend: str | None) -> tuple[Tensor, ...]:
        """Gradients of x, the threshold, the initial potential and, if there is one, the bias."""
        operands = self.operands()
        returned = if_multistep(*operands, **self.options, backend=backend)
        pairs = [
            (output, grad)
            for output, grad in zip(returned, (self.grad_emitted, self.grad_v), strict=True)
            if output is not None and grad is not None
        ]
        outputs, grads = zip(*pairs, strict=True)
        return torch.autograd.grad(outputs, operands, grads)


def gradient(
    x: Tensor, v_threshold: Tensor, v_init: Tensor, bias: Tensor | None, **options: Any
) -> Gradient:
    """A case whose outputs have random gradients of their shapes and dtypes."""
    emitted, v = if_multistep(x, v_threshold, v_init, bias, **options)
    grads = [
        None if output is None else currents(*output.shape, dtype=output.dtype, seed=7 + i)
        for i, output in enumerate((emitted, v))
    ]
    return Gradient(x, v_threshold, v_init, bias, grads[0], grads[1], options)


def check_backends(case: Gradient, backend: str) -> None:
    """The backend's gradients are the reference's, bit for bit."""
    names = ("x", "v_threshold", "v_init", "bias")
    for name, got, wanted in zip(
        names[: 3 + (case.bias is not None)],
        case.backward(backend),
        case.backward("reference"),
        strict=True,
    ):
        shapes = [list(tensor.shape) for tensor in case.operands()]
        assert_same(got, wanted, f"gradient of {name}, {shapes} with {case.options}")
        assert got.stride() == wanted.stride(), name


def option_grid() -> Iterator[dict[str, Any]]:
    """Every combination of surrogate, reset, detach_reset, ties, emission and returned v."""
    for surrogate, reset, detach, fires, emit, return_v in product(
        SURROGATES.values(),
        ("soft", "hard"),
        (False, True),
        ("ge", "gt"),
        ("spikes", "psp"),
        (None, "last", "all"),
    ):
        yield {
            "surrogate": surrogate,
            "reset": reset,
            "v_reset": -0.125 if reset == "hard" else 0.0,
            "detach_reset": detach,
            "fires": fires,
            "emit": emit,
            "return_v": return_v,
        }


# [T, B, C, H, W] of the random calls.
SHAPE = (6, 2, 5, 3, 7)
BIASES = ("none", "same", "timed")


def random_case(
    *,
    bias: str = "none",
    static: bool = False,
    dtype: torch.dtype = torch.float32,
    shape: tuple[int, ...] = SHAPE,
    **options: Any,
) -> Gradient:
    """A call with x `[T, B, C, H, W]`, a threshold a channel and any bias; ties among its steps."""
    T, _, channels, *space = shape
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    ones = [1] * len(space)
    x = currents(*shape, dtype=dtype)
    same = currents(channels, *ones, seed=3).to(wide) / 4
    timed = currents(T, 1, channels, *ones, seed=3).to(wide) / 4
    if static:
        x, options = x[0], {**options, "T": T}
    return gradient(
        x,
        thresholds(channels, *ones).to(wide),
        currents(space[-1], seed=4).to(wide),
        {"none": None, "same": same, "timed": timed}[bias],
        **options,
    )


def rearranged(case: Gradient, **changes: Callable[[Tensor], Tensor]) -> Gradient:
    """The same values in other places in memory: a layout for each operand or gradient named."""
    moved = {
        name: None if (tensor := getattr(case, name)) is None else layout(tensor)
        for name, layout in changes.items()
    }
    return replace(case, **moved)
