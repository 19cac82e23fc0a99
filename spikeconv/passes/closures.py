"""Functions that a module holds, with the variables that they have from where they were made."""

from __future__ import annotations

import contextlib
import copy
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

_COPIED = (nn.Module, MethodType, dict, list, set, tuple)


def with_own_closures(copied: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """The copy of a module, its hooks and other functions no longer bound to the original.

    `copy.deepcopy` takes functions as they are, so that a hook which writes into a dict beside it
    would write into the original's, and a lambda would call the original's layers.

    Args:
        copied: changed in place.
        memo: of the copy.
    """
    for module in copied.modules():
        _rebind(vars(module), memo)
        for value in list(vars(module).values()):
            if isinstance(value, dict | list):
                _rebind(value, memo)
    return copied


def _rebind(holder: dict[Any, Any] | list[Any], memo: dict[int, Any]) -> None:
    items = holder.items() if isinstance(holder, dict) else enumerate(holder)
    for key, value in list(items):
        if isinstance(value, FunctionType) and value.__closure__:
            holder[key] = _rebound(value, memo)


def _rebound(function: FunctionType, memo: dict[int, Any]) -> Any:
    """A function whose variables from outside are copies, as far as they can be changed."""
    if id(function) in memo:
        return memo[id(function)]
    cells = function.__closure__ or ()
    new = [cell for cell in cells if id(cell) not in memo]
    memo.update((id(cell), CellType()) for cell in new)
    bound = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        tuple(memo[id(cell)] for cell in cells),
    )
    bound.__dict__.update(function.__dict__)
    bound.__kwdefaults__ = function.__kwdefaults__
    bound.__qualname__ = function.__qualname__
    memo[id(function)] = bound
    for cell in new:
        with contextlib.suppress(ValueError):  # a variable that has no value yet
            memo[id(cell)].cell_contents = _own(cell.cell_contents, memo)
    return bound


def _own(value: Any, memo: dict[int, Any]) -> Any:
    """A copy of what can change; what cannot be copied is shared, as copy.deepcopy shares all."""
    if isinstance(value, FunctionType) and value.__closure__:
        return _rebound(value, memo)
    if isinstance(value, Tensor):
        return memo.get(id(value), value)
    if isinstance(value, _COPIED):
        tried = dict(memo)  # which a copy that fails leaves half done
        with contextlib.suppress(Exception):
            own = copy.deepcopy(value, tried)
            memo.update(tried)
            return own
        memo[id(value)] = value
    return value
