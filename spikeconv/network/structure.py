"""Nested tuples, lists, dicts and dataclasses of tensors: what a network may return."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

# What an output may hold besides tensors.
_PLAIN = (bool, int, float, complex, str, bytes, enum.Enum, torch.dtype, torch.device)


@dataclasses.dataclass(frozen=True)
class Fields:
    """A call that puts a dataclass together: `with_fields` of one kind.

    Example:
        >>> Fields(Fields)(kind=int)
        Fields(kind=<class 'int'>)
    """

    kind: type[Any]

    @property
    def __name__(self) -> str:
        return self.kind.__name__

    def __call__(self, **values: Any) -> Any:
        return with_fields(self.kind, values)


def with_fields(kind: type[Any], values: dict[str, Any]) -> Any:
    """A dataclass of these values.

    Its constructor may compute something of what it is given, which has been done by then.
    """
    if issubclass(kind, dict):  # it keeps its fields as items, too
        return kind(**values)
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def fields_of(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass by their names; None of anything else."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return None
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def leaves(value: Any) -> Iterator[Any]:
    """Everything in nested tuples, lists, dicts and dataclasses, in order."""
    fields = fields_of(value)
    if fields is not None:
        value = fields
    if isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists, dicts and dataclasses, in order."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, Tensor))


def holds_tensors(value: Any) -> bool:
    """Whether there is a tensor in nested tuples, lists, dicts and dataclasses."""
    return next(tensors(value), None) is not None


def unknown(value: Any, *known: type[Any]) -> str | None:
    """What kind of object an output holds that may hide tensors, None where there is none.

    Args:
        value: the output.
        known: kinds of leaves that are fine besides tensors, numbers and the like.

    >>> unknown({"logits": (torch.ones(2), None)}), unknown([{1, 2}])
    (None, 'set')
    """
    fine = (Tensor, type(None), *_PLAIN, *known)
    return next((type(x).__name__ for x in leaves(value) if not isinstance(x, fine)), None)


def map_tensors(function: Callable[..., Tensor], *outputs: Any) -> Any:
    """Outputs of one structure, joined tensor by tensor."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return function(*outputs)
    if fields_of(first) is not None:
        joined = map_tensors(function, *map(fields_of, outputs))
        return with_fields(type(first), joined)
    if isinstance(first, dict):
        return {key: map_tensors(function, *(o[key] for o in outputs)) for key in first}
    if isinstance(first, tuple | list):
        items = [map_tensors(function, *group) for group in zip(*outputs, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    return first


def concatenated(outputs: Iterable[Any], dim: int = 0) -> Any:
    """Outputs of one structure, put together along a dimension of their tensors.

    >>> concatenated([{"a": torch.ones(1)}, {"a": torch.zeros(2)}])
    {'a': tensor([1., 0., 0.])}
    """
    return map_tensors(lambda *parts: torch.cat(parts, dim), *outputs)
