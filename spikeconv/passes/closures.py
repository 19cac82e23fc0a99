"""Functions that a module holds, with the variables that they have from where they were made."""

from __future__ import annotations

import contextlib
import copy
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import nn

_COPIED = (nn.Module, MethodType, dict, list, set)


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
    cells = tuple(memo.setdefault(id(cell), CellType()) for cell in function.__closure__ or ())
    bound = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
    )
    bound.__dict__.update(function.__dict__)
    bound.__kwdefaults__ = function.__kwdefaults__
    bound.__qualname__ = function.__qualname__
    memo[id(function)] = bound
    for cell, own in zip(function.__closure__ or (), cells, strict=True):
        with contextlib.suppress(ValueError):  # a variable that has no value yet
            own.cell_contents = _own(cell.cell_contents, memo)
    return bound


def _own(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, FunctionType) and value.__closure__:
        return _rebound(value, memo)
    if isinstance(value, _COPIED):
        with contextlib.suppress(Exception):  # what cannot be copied is shared, as it was
            return copy.deepcopy(value, memo)
    return value
