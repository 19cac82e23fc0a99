"""Arguments of calls as JSON, and back: plain data, references, and torch's own constants.

A JSON list is a list. Everything else that JSON has not is an object of one key, which says what it
is: ``{"ref": "conv1"}``, ``{"tuple": [2, 2]}``, ``{"float": "inf"}``, ``{"dtype": "float32"}``.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable
from functools import lru_cache
from keyword import iskeyword
from typing import Any

import torch

from spikeconv.files.malformed import Malformed
from spikeconv.network.program import Ref

# Arguments of real calls are nested three deep at most, a network's outputs hardly more.
_DEPTH = 32

_KEYS = (type(None), bool, int, float, str)

_CONSTANTS: dict[str, type] = {
    "dtype": torch.dtype,
    "memory_format": torch.memory_format,
    "layout": torch.layout,
}


def encode(value: Any) -> Any:
    """A value as JSON has it.

    Raises:
        TypeError: it holds something of another kind.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if type(value) is complex:
        return {"complex": [encode(value.real), encode(value.imag)]}
    if isinstance(value, Ref):
        return {"ref": value.name}
    if type(value) is list:
        return [encode(item) for item in value]
    if isinstance(value, torch.Size):
        return {"size": [encode(item) for item in value]}
    if type(value) is tuple:
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = named_fields(type(value))
        return {"named": [type(value).__name__, fields, [encode(item) for item in value]]}
    if type(value) is dict:
        return {"dict": [[_key(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, slice):
        return {"slice": [encode(part) for part in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": None}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    for key, kind in _CONSTANTS.items():
        if isinstance(value, kind):
            return {key: str(value).removeprefix("torch.")}
    raise TypeError(f"a value of type {type(value).__name__}, which has no form in a file")


def _key(key: Any) -> Any:
    if not isinstance(key, _KEYS):
        raise TypeError(f"a dict with a key of type {type(key).__name__}, not a string or number")
    return encode(key)


def decode(value: Any, depth: int = 0) -> Any:
    """What `encode` was given; undoes it.

    Raises:
        Malformed: it is not of that form.
    """
    if depth > _DEPTH:
        raise Malformed(f"values are nested more than {_DEPTH} deep")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return _items(value, depth)
    if not isinstance(value, dict) or len(value) != 1:
        raise Malformed(f"{short(value)} is no value")
    ((key, content),) = value.items()
    if key not in _DECODERS:
        raise Malformed(f"{key!r} is no kind of value")
    return _DECODERS[key](content, depth)


def short(value: Any) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _items(content: Any, depth: int) -> list[Any]:
    if not isinstance(content, list):
        raise Malformed(f"{short(content)} is no list")
    return [decode(item, depth + 1) for item in content]


def _ref(content: Any, depth: int) -> Ref:
    if not isinstance(content, str):
        raise Malformed(f"{short(content)} is no name of a value")
    return Ref(content)


def _float(content: Any, depth: int) -> float:
    if content not in ("inf", "-inf", "nan"):
        raise Malformed(f"{short(content)} is no number that JSON has not")
    return float(content)


def _complex(content: Any, depth: int) -> complex:
    parts = _items(content, depth)
    if len(parts) != 2 or not all(isinstance(part, float) for part in parts):
        raise Malformed(f"{short(content)} is no complex number")
    return complex(*parts)


def _size(content: Any, depth: int) -> torch.Size:
    sizes = _items(content, depth)
    if not all(type(size) is int and 0 <= size < 2**63 for size in sizes):
        raise Malformed(f"{short(content)} is no size")
    return torch.Size(sizes)


def _dict(content: Any, depth: int) -> dict[Any, Any]:
    if not isinstance(content, list):
        raise Malformed(f"{short(content)} is no list of pairs")
    decoded: dict[Any, Any] = {}
    for pair in content:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Malformed(f"{short(pair)} is no pair")
        key, value = decode(pair[0], depth + 1), decode(pair[1], depth + 1)
        if not isinstance(key, _KEYS) or key in decoded:
            raise Malformed(f"{short(pair[0])} is no key, or there twice")
        decoded[key] = value
    return decoded


def _slice(content: Any, depth: int) -> slice:
    parts = _items(content, depth)
    if len(parts) != 3:
        raise Malformed(f"{short(content)} is no slice")
    return slice(*parts)


def _named(content: Any, depth: int) -> Any:
    if not isinstance(content, list) or len(content) != 3:
        raise Malformed(f"{short(content)} is no tuple with names")
    name, fields, values = content
    values = _items(values, depth)
    if not isinstance(fields, list) or len(fields) != len(values):
        raise Malformed(f"{short(content)} has not a name for every value")
    return named_type(name, fields)(*values)


def _device(content: Any, depth: int) -> torch.device:
    try:
        return torch.device(content)
    except (RuntimeError, TypeError) as error:
        raise Malformed(f"{short(content)} is no device") from error


def _constant(key: str) -> Callable[[Any, int], Any]:
    def decode_constant(content: Any, depth: int) -> Any:
        found = getattr(torch, content, None) if _is_name(content) else None
        if not isinstance(found, _CONSTANTS[key]):
            raise Malformed(f"{short(content)} is no {key} of torch")
        return found

    return decode_constant


_DECODERS: dict[str, Callable[[Any, int], Any]] = {
    "ref": _ref,
    "float": _float,
    "complex": _complex,
    "size": _size,
    "tuple": lambda content, depth: tuple(_items(content, depth)),
    "named": _named,
    "dict": _dict,
    "slice": _slice,
    "ellipsis": lambda content, depth: Ellipsis,
    "device": _device,
    **{key: _constant(key) for key in _CONSTANTS},
}


def _is_name(value: Any) -> bool:
    """Whether a value is a name as programs have it, and none that Python keeps for itself."""
    plain = isinstance(value, str) and value.isidentifier() and not iskeyword(value)
    return plain and not value.startswith("__")


def check_name(value: Any, what: str) -> str:
    """The name, once it is known to be one.

    Raises:
        Malformed: it is none, or begins with two underscores.
    """
    if not _is_name(value):
        raise Malformed(f"{short(value)} is no name of {what}")
    return str(value)


def named_fields(kind: type) -> list[str]:
    """Names of the fields of a kind of tuple, which are all that a file keeps of it."""
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return list(fields)


def named_type(name: Any, fields: Any) -> type[Any]:
    """A kind of tuple with these names.

    Raises:
        Malformed: they are no names, or one of them is there twice.
    """
    check_name(name, "a tuple")
    if not isinstance(fields, list):
        raise Malformed(f"{short(fields)} are no names of a tuple's values")
    names = [check_name(field, "a tuple's value") for field in fields]
    if len(set(names)) != len(names) or any(field.startswith("_") for field in names):
        raise Malformed(f"{short(fields)} are no names of a tuple's values")
    return _tuple_type(name, *names)


@lru_cache(maxsize=64)
def _tuple_type(name: str, *fields: str) -> type[Any]:
    """The same type each time, so that what two files give can be compared."""
    return namedtuple(name, fields)
