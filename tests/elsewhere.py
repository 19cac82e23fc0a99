"""A device that is not the CPU, pretended, so that a tensor left on the other one is seen here.

Tensors of it say that they are on "meta" and hold values on the CPU. Inside `elsewhere()` calls run
on what they hold; one that is given tensors of both devices raises, as torch does on a GPU: numbers
(0-dim tensors) may be mixed in, indices may be on the CPU.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# What moves values from one device to the other, and what indexes.
_MOVES = {"aten::copy_", "aten::_to_copy", "aten::_local_scalar_dense"}
_INDEXES = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}


class There(Tensor):
    """A tensor on the pretended device."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    is_meta = False  # it has values

    @staticmethod
    def __new__(cls, held: Tensor) -> There:
        made: There = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device("meta"),
        )
        return made

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})

    # Conversion looks for what is overwritten: by counters of writes, and where memory lies.
    @property
    def _version(self) -> int:  # type: ignore[override]
        return self.held._version

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def __deepcopy__(self, memo: dict[int, Any]) -> There:
        made = There(self.held.clone())
        if getattr(self, "_is_param", False):
            made._is_param = True  # type: ignore[attr-defined]
        memo[id(self)] = made
        return made


def here(value: Any) -> Any:
    """What a tensor holds; anything else as it is."""
    return value.held if isinstance(value, There) else value


def there(value: Any) -> Any:
    """A tensor on the pretended device, or a copy of a network there."""
    if isinstance(value, Tensor):
        return There(value)
    network = copy.deepcopy(value)
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                held = There(parameter.detach())
                module._parameters[name] = nn.Parameter(held, requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = There(buffer)
    return network


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """A call of torch on what its tensors hold; its results are where they would be."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    name = func._schema.name
    any_there = any(isinstance(tensor, There) for tensor in tensors)
    if any_there and name not in _MOVES:
        left = [t for t in tensors if not isinstance(t, There) and t.dim() > 0]
        indices = name in _INDEXES and isinstance(tensors[0], There)
        if left and not indices:
            shapes = [tuple(tensor.shape) for tensor in left]
            raise RuntimeError(f"{name}: tensors on two devices, those of {shapes} on the CPU")
    device = kwargs.get("device")
    if device is not None:
        any_there = torch.device(device).type == "meta"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = func(*tree_map(here, args), **tree_map(here, kwargs))
    if "out" in kwargs:
        return kwargs["out"]
    if name.endswith("_") and func._schema.is_mutable:
        return args[0]
    if not any_there:
        return found
    return tree_map(lambda leaf: There(leaf) if isinstance(leaf, Tensor) else leaf, found)


class _Mode(TorchDispatchMode):
    """Sends calls about the pretended device to `_run`, those that make tensors there too."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        made_there = device is not None and torch.device(device).type == "meta"
        if made_there or any(isinstance(leaf, There) for leaf in tree_leaves((args, kwargs))):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


@contextmanager
def elsewhere() -> Iterator[None]:
    """Inside, there is a device of the type "meta" that holds values; without gradients."""
    enabled = torch.is_autocast_enabled

    def is_enabled(device_type: str | None = None) -> bool:
        if device_type == "meta":
            return False
        return enabled() if device_type is None else enabled(device_type)

    torch.is_autocast_enabled = is_enabled  # type: ignore[assignment]
    try:
        with torch.no_grad(), _Mode():
            yield
    finally:
        torch.is_autocast_enabled = enabled
