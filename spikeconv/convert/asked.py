"""What isinstance and torch.is_tensor say of torch.fx's stand-ins: what they say of a tensor."""

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


@contextmanager
def answered(network: nn.Module) -> Iterator[None]:
    """Inside the block, the files that define a network's classes ask the functions above.

    A stand-in cannot claim to be a tensor: torch's own code would take its memory for one's.
    """
    plain = torch.is_tensor
    files = [names for names in _files(network) if "isinstance" not in names]
    aliases = [
        (names, name)
        for names in (vars(torch), *files)
        for name, value in names.items()
        if value is plain
    ]
    try:
        for names in files:
            names["isinstance"] = is_instance
        for names, name in aliases:
            names[name] = is_tensor
        yield
    finally:
        for names in files:
            del names["isinstance"]
        for names, name in aliases:
            names[name] = plain


def _files(network: nn.Module) -> list[dict[str, Any]]:
    """The global names of all methods of a network's classes, but for those of torch."""
    kinds = {kind for module in network.modules() for kind in type(module).__mro__}
    own = (kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "builtins"))
    methods = (inspect.unwrap(value) for kind in own for value in vars(kind).values())
    found = (getattr(method, "__globals__", None) for method in methods if callable(method))
    return list({id(names): names for names in found if names is not None}.values())
