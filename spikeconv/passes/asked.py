"""What isinstance, len and torch.is_tensor say of torch.fx's stand-ins: the same as of a tensor."""

from __future__ import annotations

import inspect
import os
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn


def is_instance(value: Any, kinds: Any, /) -> bool:
    """isinstance, which of a stand-in asks its tracer too."""
    if isinstance(value, kinds) or not isinstance(value, fx.Proxy):
        return isinstance(value, kinds)
    tracer: Any = value.tracer
    return bool(tracer.is_instance(value, kinds))


def is_tensor(value: Any, /) -> bool:
    """torch.is_tensor, likewise."""
    return is_instance(value, Tensor)


def length(value: Any, /) -> Any:
    """len, which of a stand-in for images may give one for how many: Python's own gives an int."""
    if not isinstance(value, fx.Proxy):
        return len(value)
    tracer: Any = value.tracer
    return tracer.length(value)


_PATHS = ("stdlib", "platstdlib", "purelib", "platlib")
_INSTALLED = tuple(os.path.join(sysconfig.get_path(name), "") for name in _PATHS)

_FUNCTIONS = (FunctionType, MethodType, staticmethod, classmethod)

_BUILTINS = {"isinstance": is_instance, "len": length}


@contextmanager
def answered(network: nn.Module) -> Iterator[None]:
    """Inside the block, the files that define a network's classes ask the functions above.

    A stand-in cannot claim to be a tensor: torch's own code would take its memory for one's.
    """
    plain = torch.is_tensor
    files = _files(network)
    asking = [(names, name) for names in files for name in _BUILTINS if name not in names]
    aliases = [
        (names, name)
        for names in (vars(torch), *files)
        for name, value in names.items()
        if value is plain
    ]
    try:
        for names, name in asking:
            names[name] = _BUILTINS[name]
        for names, name in aliases:
            names[name] = is_tensor
        yield
    finally:
        for names, name in asking:
            del names[name]
        for names, name in aliases:
            names[name] = plain


def _files(network: nn.Module) -> list[dict[str, Any]]:
    """The global names of the files of a network's methods, and of files that they import from.

    Of those that are installed, as the standard library is, only of the same package; never torch.
    """
    modules = list(network.modules())
    kinds = {kind for module in modules for kind in type(module).__mro__}
    values = (value for owner in (*kinds, *modules) for value in list(vars(owner).values()))
    left = [names for names in map(_names, values) if names and _package(names) != "torch"]
    packages = {_package(names) for names in left} - {"spikeconv"}  # whose passes ask themselves
    found: dict[int, dict[str, Any]] = {}
    while left:
        names = left.pop()
        if id(names) not in found:
            found[id(names)] = names
            imported = filter(None, map(_names, list(names.values())))
            left += [more for more in imported if _package(more) in packages or _is_users(more)]
    return list(found.values())


def _names(value: Any) -> dict[str, Any] | None:
    """The global names of the file that a function or module is from."""
    if isinstance(value, ModuleType):
        return vars(value)
    # Of other objects, asking may do anything: they may stand for one that is not there yet.
    if not isinstance(value, _FUNCTIONS) and type(value).__module__ != "functools":
        return None
    names: dict[str, Any] | None = getattr(inspect.unwrap(value), "__globals__", None)
    return names


def _package(names: dict[str, Any]) -> str:
    top = str(names.get("__name__")).partition(".")[0]
    return "torch" if top == "builtins" else top


def _is_users(names: dict[str, Any]) -> bool:
    """Whether a file is neither installed nor of this package."""
    file = names.get("__file__")
    if not isinstance(file, str) or _package(names) in ("spikeconv", "torch"):
        return False
    return not any(os.path.abspath(file).startswith(path) for path in _INSTALLED)
