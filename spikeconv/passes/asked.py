"""What isinstance, len and torch.is_tensor say of torch.fx's stand-ins: the same as of a tensor."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
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
    """The global names of the files of a network's methods and of functions that it holds.

    Those of torch are left out.
    """
    modules = list(network.modules())
    kinds = {kind for module in modules for kind in type(module).__mro__}
    values = (value for owner in (*kinds, *modules) for value in list(vars(owner).values()))
    found = (getattr(inspect.unwrap(v), "__globals__", None) for v in values if callable(v))
    files = {id(names): names for names in found if names is not None}
    return [names for names in files.values() if not _is_of_torch(names)]


def _is_of_torch(names: dict[str, Any]) -> bool:
    return str(names.get("__name__")).partition(".")[0] in ("torch", "builtins")
