"""Populations as the arguments of `IFNode`, whatever they are.

What a later version adds to its constructor is kept without a change here, if an attribute of the
same name holds it. A file leaves out what has its default.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.files.malformed import Malformed, said
from spikeconv.files.tensors import Collected, Loaded, is_reference
from spikeconv.files.values import decode, encode, short
from spikeconv.network.program import refs
from spikeconv.neuron import IFNode
from spikeconv.surrogate import BuiltIn, built_in


def _defaults() -> dict[str, Any]:
    """The constructor's arguments that attributes keep, with their defaults."""
    parameters = inspect.signature(IFNode).parameters.items()
    return {name: p.default for name, p in parameters if not callable(getattr(IFNode, name, None))}


def describe_neurons(node: nn.Module, where: str, collected: Collected) -> dict[str, Any]:
    """A population as JSON has it; its tensors are collected under names that begin with `where`.

    Raises:
        TypeError: it is no `IFNode`, or one of its arguments has no form in a file.
        ValueError: it holds NaN.
    """
    if type(node) is not IFNode:
        raise TypeError(f"a {type(node).__name__}, not an IFNode")
    description: dict[str, Any] = {}
    for name, default in _defaults().items():
        value = getattr(node, name)
        if isinstance(value, Tensor):
            description[name] = collected.add(f"{where}.{name}", value)
            if bool(value.isnan().any()):
                raise ValueError(f"NaN in {name}")
        elif isinstance(value, BuiltIn):
            description[name] = {"surrogate": [value.name, value.parameter]}
        elif type(value) is not type(default) or value != default:
            try:
                description[name] = encode(value)
            except TypeError as error:
                raise TypeError(f"{name} is {error}") from error
    return description


def rebuild_neurons(description: Any, shape: tuple[int, ...], tensors: Loaded) -> IFNode:
    """The population that `describe_neurons` has described, for neurons of one image ``shape``.

    Raises:
        Malformed: it describes none, or none of this shape.
    """
    if not isinstance(description, dict) or not set(description) <= set(_defaults()):
        known = ", ".join(_defaults())
        raise Malformed(f"{short(description)} are no neurons: they have {known}")
    arguments: dict[str, Any] = {
        name: _rebuilt(value, tensors) for name, value in description.items()
    }
    if next(refs(arguments), None) is not None:
        raise Malformed("an argument of neurons refers to a value of the network")
    try:
        node = IFNode(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Malformed(said(error)) from error
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            _check_fits(name, value[0] if name == "step_bias" else value, (1, *shape))
    return node


def _rebuilt(value: Any, tensors: Loaded) -> Any:
    """One argument: a tensor, a surrogate that the kernels know, or plain data."""
    if is_reference(value):
        return tensors.get(value)
    if not isinstance(value, dict) or value.keys() != {"surrogate"}:
        return decode(value)
    try:
        name, parameter = value["surrogate"]
        return built_in(name, parameter)
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"{short(value)} is no surrogate") from error


def _check_fits(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Raise Malformed where a parameter is not one of so many neurons."""
    try:
        fits = torch.broadcast_shapes(value.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise Malformed(
            f"IFNode: {name} must fit neurons {list(shape[1:])}, found {list(value.shape)}"
        )
