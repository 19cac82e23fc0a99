"""Dataclasses as JSON, and back, by the types of their fields.

A field that a later version adds is left to its default in an older file.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from spikeconv.files.malformed import Malformed
from spikeconv.files.values import decode, encode, short

Record = TypeVar("Record")


def encode_record(record: Any) -> dict[str, Any]:
    """A dataclass's fields as JSON has them.

    >>> from spikeconv.network.timing import Timing
    >>> encode_record(Timing(delay=2))
    {'delay': 2, 'srp': 0, 'cos': 0}
    """
    kinds = get_type_hints(type(record))
    return {
        field.name: _encode(kinds[field.name], getattr(record, field.name))
        for field in dataclasses.fields(record)
    }


def _encode(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return encode_record(value)
    if get_origin(kind) is tuple:
        return [
            _encode(one, item) for one, item in zip(_each(kind, len(value)), value, strict=True)
        ]
    if get_origin(kind) in (dict, Mapping) and value is not None:
        _, of = get_args(kind)
        return {key: _encode(of, item) for key, item in value.items()}
    return encode(value)


def _each(kind: Any, count: int) -> tuple[Any, ...]:
    """Types of the items of a tuple of so many."""
    of = get_args(kind)
    return (of[0],) * count if len(of) == 2 and of[1] is Ellipsis else of


def decode_record(kind: type[Record], content: Any) -> Record:
    """A dataclass of this kind; undoes `encode_record`.

    Raises:
        Malformed: a field is missing, unknown or of another type.
    """
    if not isinstance(content, Mapping):
        raise Malformed(f"{short(content)} is no {kind.__name__}")
    fields = {
        field.name: field
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if field.init
    }
    missing = [
        name
        for name, field in fields.items()
        if name not in content
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing or not set(content) <= set(fields):
        raise Malformed(
            f"a {kind.__name__} has {', '.join(fields)}, found {short(sorted(content))}"
        )
    kinds = get_type_hints(kind)
    values = {
        name: _decode(kinds[name], item, f"{kind.__name__}.{name}")
        for name, item in content.items()
    }
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:  # a record may check itself
        raise Malformed(str(error)) from error


def _decode(kind: Any, content: Any, where: str) -> Any:
    if kind is Any:
        return decode(content)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return decode_record(kind, content)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(kind), content, where)
    if origin is tuple:
        if not isinstance(content, list) or len(_each(kind, len(content))) != len(content):
            raise Malformed(f"{where} is {short(content)}, no {kind}")
        each = _each(kind, len(content))
        return tuple(_decode(one, item, where) for one, item in zip(each, content, strict=True))
    if origin in (dict, Mapping):
        if not isinstance(content, dict):
            raise Malformed(f"{where} is {short(content)}, no {kind}")
        _, of = get_args(kind)
        return {key: _decode(of, item, where) for key, item in content.items()}
    value = decode(content)
    if kind is float and type(value) is int:
        return value
    if type(value) is not kind:
        raise Malformed(f"{where} is {short(content)}, no {kind.__name__}")
    return value


def _decode_union(kinds: tuple[Any, ...], content: Any, where: str) -> Any:
    for kind in kinds:
        try:
            return _decode(kind, content, where)
        except Malformed:
            continue  # one of the others
    raise Malformed(f"{where} is {short(content)}, none of {', '.join(map(str, kinds))}")
