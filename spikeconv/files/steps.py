"""A step of a program as JSON, and back: what it calls is known by name."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from torch import nn

from spikeconv.files.malformed import Malformed
from spikeconv.files.names import ATTRIBUTES, FUNCTIONS, METHODS, NAMES
from spikeconv.files.values import check_name, decode, encode, named_fields, named_type, short
from spikeconv.network.program import Phase, Ref, Step
from spikeconv.network.structure import Fields

_STEP = {"name", "kind", "target", "args", "kwargs", "phase", "label", "shape"}
_STEP |= {"broadcasts", "analog"}
_LAYERS = ("module", "neuron", "max_pool")
_KINDS = ("function", "method", "constant", *_LAYERS)
# Larger than any tensor, small enough to be multiplied.
LARGEST = 2**48
# Its own attributes are names that it gives to no module.
_EMPTY = nn.ModuleDict()


def describe_step(step: Step) -> dict[str, Any]:
    """A step as JSON has it.

    Raises:
        TypeError: it calls, or gives, what a file cannot name.
    """
    return {
        "name": step.name,
        "kind": step.kind,
        "target": _name_of(step),
        "args": [encode(value) for value in step.args],
        "kwargs": {name: encode(value) for name, value in step.kwargs.items()},
        "phase": step.phase.value,
        "label": step.label,
        "shape": list(step.shape),
        "broadcasts": step.broadcasts,
        "analog": step.analog,
    }


def _name_of(step: Step) -> Any:
    """What a file calls the target of a step."""
    target = step.target
    if step.kind == "function":
        if isinstance(target, type) and hasattr(target, "_fields"):
            return [target.__name__, named_fields(target)]
        if isinstance(target, Fields):
            raise TypeError(
                f"the dataclass {target.__name__}, which a file cannot name; return a named tuple "
                "or a dict of the same values"
            )
        if not callable(target) or target not in NAMES:
            place = f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', target)}"
            raise TypeError(f"a call of {place}, which a file cannot name")
        if target is getattr and not (len(step.args) == 2 and step.args[1] in ATTRIBUTES):
            raise TypeError(f"the attribute {step.args[1]!r}, which a file cannot name")
        return NAMES[target]
    if step.kind == "method" and target not in METHODS:
        raise TypeError(f"a call of Tensor.{target}, which a file cannot name")
    return target


def check_key(name: Any) -> str:
    """The name of a step, once it is known that a module can keep something under it.

    Raises:
        Malformed: it cannot.
    """
    check_name(name, "a step")
    if "." in name or hasattr(_EMPTY, name):
        raise Malformed(f"{short(name)} is no name of a step")
    return str(name)


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise Malformed where a shape is none, or too large for any tensor."""
    size = 1
    for n in shape:
        size *= max(1, n)
        if n < 0 or size > LARGEST:
            raise Malformed(f"{short(list(shape))} is no shape")


def rebuild_step(
    description: Any, layers: Container[str], neurons: Container[str], constants: Container[str]
) -> Step:
    """The step that `describe_step` has described.

    Args:
        description: of the step.
        layers, neurons, constants: names of those that there are.

    Raises:
        Malformed: it describes none.
    """
    if not isinstance(description, dict) or set(description) != _STEP:
        raise Malformed(f"{short(description)} is no step")
    name, kind, target = (description[key] for key in ("name", "kind", "target"))
    check_key(name)
    args, kwargs = description["args"], description["kwargs"]
    shape, phase = description["shape"], description["phase"]
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Malformed(f"step {name}: {short(args)}, {short(kwargs)} are no arguments")
    if not isinstance(shape, list) or not all(type(n) is int for n in shape):
        raise Malformed(f"step {name}: {short(shape)} is no shape")
    check_shape(tuple(shape))
    if phase not in [one.value for one in Phase]:
        raise Malformed(f"step {name}: {short(phase)} is no phase")
    said = {key: description[key] for key in ("label", "analog", "broadcasts")}
    if not all(type(said[key]) is (bool if key == "broadcasts" else str) for key in said):
        raise Malformed(f"step {name}: {short(said)} does not describe it")
    step = Step(
        name=name,
        kind=kind,
        target=_target(name, kind, target),
        args=tuple(decode(value) for value in args),
        kwargs={check_name(key, "an argument"): decode(value) for key, value in kwargs.items()},
        phase=Phase(phase),
        shape=tuple(shape),
        **said,
    )
    _check_step(step, layers, neurons, constants)
    return step


def _target(name: str, kind: Any, target: Any) -> Any:
    if kind not in _KINDS:
        raise Malformed(f"step {name}: {short(kind)} is no kind of step")
    if kind == "function" and isinstance(target, list) and len(target) == 2:
        return named_type(*target)
    if not isinstance(target, str):
        raise Malformed(f"step {name}: {short(target)} is no name of a call")
    if kind == "function":
        if target not in FUNCTIONS:
            raise Malformed(f"step {name}: {short(target)} is no function that a file may name")
        return FUNCTIONS[target]
    if kind == "method" and target not in METHODS:
        raise Malformed(f"step {name}: {short(target)} is no method that a file may name")
    return target


def _check_step(
    step: Step, layers: Container[str], neurons: Container[str], constants: Container[str]
) -> None:
    """Raise Malformed where a step calls what there is not, or in a way that cannot be run."""
    if step.kind in _LAYERS and step.target not in layers:
        raise Malformed(f"step {step.name}: the layer {short(step.target)} is missing")
    if step.kind == "neuron" and (step.name not in neurons or step.target != step.name):
        raise Malformed(f"step {step.name}: its neurons are missing")
    if step.kind == "constant" and step.target not in constants:
        raise Malformed(f"step {step.name}: the constant {short(step.target)} is missing")
    first = step.args[0] if step.args else None
    alone = len(step.args) == 1 and not step.kwargs and isinstance(first, Ref)
    if step.kind in ("neuron", "max_pool") and not alone:
        raise Malformed(f"step {step.name}: it must read one value")
    if step.kind == "method" and not isinstance(first, Ref):
        raise Malformed(f"step {step.name}: a method must be one of a value")
    if step.target is getattr:
        named = len(step.args) == 2 and not step.kwargs and isinstance(first, Ref)
        if not named or not isinstance(step.args[1], str) or step.args[1] not in ATTRIBUTES:
            raise Malformed(f"step {step.name}: it reads no attribute that a file may name")
