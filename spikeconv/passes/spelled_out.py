"""What torch.fx's stand-ins are given to, said so that the passes, or torch itself, understand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx


def _lerp(input: Any, end: Any, weight: Any) -> Any:
    return input + (end - input) * weight


def _addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    return input + tensor1 * tensor2 * value


def _addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    return input + tensor1 / tensor2 * value


def _addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    return _scaled_sum(input, beta, torch.matmul(mat1, mat2), alpha)


def _baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    return _scaled_sum(input, beta, torch.matmul(batch1, batch2), alpha)


def _scaled_sum(input: Any, beta: Any, product: Any, alpha: Any) -> Any:
    """Where beta is a plain 0, torch does not read the input, whatever it holds."""
    scaled = _times(product, alpha)
    return scaled if _is_plain(beta, 0) else _times(input, beta) + scaled


def _times(x: Any, factor: Any) -> Any:
    return x if _is_plain(factor, 1) else x * factor


def _is_plain(factor: Any, value: int) -> bool:
    return isinstance(factor, int | float) and factor == value


def _constant_pad(input: Any, pad: Any, value: Any = 0) -> Any:
    return F.pad(input, pad, value=value)


COMPOUNDS: dict[Any, Callable[..., Any]] = {
    torch.lerp: _lerp,
    "lerp": _lerp,
    torch.addcmul: _addcmul,
    "addcmul": _addcmul,
    torch.addcdiv: _addcdiv,
    "addcdiv": _addcdiv,
    torch.addmm: _addmm,
    "addmm": _addmm,
    torch.baddbmm: _baddbmm,
    "baddbmm": _baddbmm,
    torch.constant_pad_nd: _constant_pad,
}
"""Functions and methods that are traced as the sums, products and paddings which they are."""


@contextmanager
def expanding_by_stand_ins() -> Iterator[None]:
    """Inside the block, `tensor.expand(n, -1)` takes a stand-in for n, and is traced.

    Of all of a tensor's methods that take sizes one by one, torch reads those of expand alone
    before it asks who else may know them.
    """
    plain, own = Tensor.expand, vars(Tensor).get("expand")

    def expand(self: Tensor, *sizes: Any, **named: Any) -> Any:
        given = (*sizes, *named.values())
        tracers = [size.tracer for size in _flat(given) if isinstance(size, fx.Proxy)]
        if tracers:
            return tracers[0].create_proxy("call_method", "expand", (self, *sizes), named)
        return plain(self, *sizes, **named)

    torch.overrides.is_tensor_method_or_property(plain)  # which remembers the methods as they are
    Tensor.expand = expand  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        if own is None:
            del Tensor.expand  # inherited again
        else:
            Tensor.expand = own  # type: ignore[method-assign]


def _flat(sizes: tuple[Any, ...]) -> Iterator[Any]:
    """Sizes that are given one by one, or together."""
    for size in sizes:
        yield from size if isinstance(size, tuple | list) else (size,)
