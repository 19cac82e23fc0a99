"""Inputs for the tests of equality: random values, memory layouts, every combination of options."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from spikeconv import if_multistep
from tests.helpers import assert_same, expected

Case = TypeVar("Case")

EMITS = ("spikes", "psp", "uint8", "words", "count")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# [T, B, C, H, W], all but two of the sizes different.
SHAPE = (3, 2, 5, 3, 7)


def currents(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Currents around a quarter; half of them are eighths, so that sums meet thresholds exactly."""
    generator = torch.Generator().manual_seed(seed)
    free = torch.randn(shape, generator=generator) + 0.25
    eighths = (free * 8).round() / 8
    return torch.where(torch.rand(shape, generator=generator) < 0.5, eighths, free).to(dtype)


def thresholds(*shape: int, seed: int = 1) -> Tensor:
    """Thresholds from 0.25 to 2; half of them are eighths."""
    generator = torch.Generator().manual_seed(seed)
    free = 0.25 + 1.75 * torch.rand(shape, generator=generator)
    eighths = (free * 8).round() / 8
    return torch.where(torch.rand(shape, generator=generator) < 0.5, eighths, free)


def counts(*shape: int, seed: int = 2) -> Tensor:
    """Net counts from -1 to 2."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1, 3, shape, generator=generator, dtype=torch.int32)


def option_grid(emit: str) -> Iterator[dict[str, Any]]:
    """Every combination of signed, reset, ties, bias, static input and returned potential."""
    switch = (False, True)
    for signed, hard, fires, bias, static, return_v in itertools.product(
        switch if emit != "words" else (False,),
        switch,
        ("ge", "gt"),
        ("none", "same", "timed"),
        switch,
        (None, "last", "all"),
    ):
        same = currents(5, 1, 1, seed=3) / 4
        timed = currents(4 if static else SHAPE[0], 1, 5, 1, 1, seed=3) / 4
        yield {
            "emit": emit,
            "signed": signed,
            "reset": "hard" if hard else "soft",
            "v_reset": -0.125 if hard else 0.0,
            "fires": fires,
            "bias": {"none": None, "same": same, "timed": timed}[bias],
            "count_init": counts(3, 7) if signed and bias != "none" else None,
            "return_v": return_v,
            "T": 4 if static else None,
        }


def affordable(cases: Iterable[Case], backend: str) -> list[Case]:
    """All cases for a GPU; of Triton's, which are compiled one by one, a hundred.

    They are drawn by a fixed seed. Its interpreter runs all of them without a GPU.
    """
    every = list(cases)
    return random.Random(0).sample(every, min(100, len(every))) if backend == "triton" else every


def _moved(values: Tensor, order: Sequence[int]) -> Tensor:
    """Dimensions stored in this order, outermost first."""
    back = [order.index(d) for d in range(values.dim())]
    return values.permute(list(order)).contiguous().permute(back)


def _channels_last(values: Tensor) -> Tensor:
    """The third dimension from the right stored innermost."""
    dims = list(range(values.dim()))
    return _moved(values, dims[:-3] + dims[-2:] + dims[-3:-2])


def _slice(values: Tensor, layout: Callable[[Tensor], Tensor] = Tensor.contiguous) -> Tensor:
    """The inside of a larger buffer of NaN."""
    buffer = layout(values.new_full([size + 3 for size in values.shape], math.nan))
    return buffer[tuple(slice(1, size + 1) for size in values.shape)].copy_(values)


def _every_other(values: Tensor) -> Tensor:
    """Every second element along the last dimension of a buffer of NaN."""
    if values.dim() == 0:
        return values
    buffer = values.new_full((*values.shape[:-1], 2 * values.shape[-1]), math.nan)
    return buffer[..., ::2].copy_(values)


# Each gives the same values, laid out differently in memory.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "channels_last": _channels_last,
    "slice": _slice,
    "slice_of_channels_last": lambda values: _slice(values, _channels_last),
    "every_other": _every_other,
    "reversed": lambda values: _moved(values, range(values.dim())[::-1]),
    "first_innermost": lambda values: _moved(
        values, sorted(range(values.dim()), key=lambda d: d == 0)
    ),
}


def bias_steps(bias: Tensor | None, x: Tensor, steps: slice) -> Tensor | None:
    """What a run of these steps of x `[T, *]` takes of the bias of all of them."""
    if bias is None or bias.dim() < x.dim() or len(bias) == 1:
        return bias
    return bias[steps]


def by_operator(x: Tensor, **arguments: Any) -> Any:
    """The operator itself, which takes tensors where the function takes numbers too."""
    parameters = {"v_threshold": 1.0, "v_init": 0.0, "bias": None, "count_init": None}
    positional = []
    for name, default in parameters.items():
        value = arguments.pop(name, default)
        positional.append(value if value is None else torch.as_tensor(value))
    return torch.ops.spikeconv.if_multistep(x, *positional, **arguments)


def check(x: Tensor, backend: str, **arguments: Any) -> None:
    """`if_multistep` gives the oracle's bits."""
    got = if_multistep(x, **arguments, backend=backend)
    shown = {key: _shown(value) for key, value in arguments.items()}
    for name, a, b in zip(("emitted", "v"), got, expected(x, **arguments), strict=True):
        assert_same(a, b, f"{name} of x {_shown(x)} with {shown}")


def _shown(value: object) -> object:
    if not isinstance(value, Tensor):
        return value
    return f"{value.dtype} {list(value.shape)} strides {list(value.stride())}"
