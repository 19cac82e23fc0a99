"""Layers as the name of their class and the arguments that make them anew.

A file may name layers of torch that compute a value from values, and this package's own: nothing
else is ever made. A layer is made without memory, and gets its weights from the file.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.files.malformed import REFUSALS, Malformed, said
from spikeconv.files.tensors import Collected, Loaded
from spikeconv.files.values import decode, encode, short
from spikeconv.network.layers import Largest, Rectifier
from spikeconv.network.program import refs
from spikeconv.network.subclasses import adds_nothing
from spikeconv.network.vocabulary import LINEAR_MODULES, MAX_POOL_MODULES

# Without a spiking form, so they are there only where a user has kept them analog.
_ANALOG = """
    Bilinear CELU CosineSimilarity ELU Embedding GELU GLU GroupNorm Hardshrink Hardsigmoid
    Hardswish Hardtanh InstanceNorm1d InstanceNorm2d InstanceNorm3d LPPool1d LPPool2d LPPool3d
    LayerNorm LeakyReLU LocalResponseNorm LogSigmoid LogSoftmax MaxUnpool1d MaxUnpool2d
    MaxUnpool3d Mish MultiheadAttention PReLU PairwiseDistance RMSNorm ReLU ReLU6 SELU SiLU
    Sigmoid Softmax Softmax2d Softmin Softplus Softshrink Softsign Tanh Tanhshrink Threshold
"""

# Those of the layers above with some arguments fixed.
_FIXED = "UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d"

_NAMED = (*_ANALOG.split(), *_FIXED.split())
_KINDS = (*LINEAR_MODULES, *MAX_POOL_MODULES, *(getattr(nn, name) for name in _NAMED))
CLASSES: dict[str, type[nn.Module]] = {
    "spikeconv.Largest": Largest,
    "spikeconv.Rectifier": Rectifier,
    **{f"torch.nn.{kind.__name__}": kind for kind in _KINDS if kind is not Largest},
}
_NAMES = {kind: name for name, kind in CLASSES.items()}

# Arguments that say whether there are weights of these names.
_WEIGHTS = {"bias": ("bias", "in_proj_bias"), "add_bias_kv": ("bias_k",)}
# The weights say it themselves, or it chose only their first values.
_NOT_KEPT = {"device", "dtype", "init", "self"}


def describe_module(module: nn.Module, where: str, collected: Collected) -> dict[str, Any]:
    """A layer as JSON has it; its tensors are collected under names that begin with `where`.

    Raises:
        TypeError: it cannot be made anew from what a file keeps.
    """
    kind = _class_of(module)
    known = (name for name in _parameters(kind) if name in _WEIGHTS or hasattr(module, name))
    arguments = {name: _argument(module, name) for name in sorted(known)}
    description = {
        "class": _NAMES[kind],
        "arguments": {name: encode(value) for name, value in arguments.items()},
        "tensors": {
            name: collected.add(f"{where}.{name}", tensor)
            for name, tensor in module.state_dict(keep_vars=True).items()
        },
    }
    different = sorted(_differences(module, _made(kind, arguments)))
    if different:
        raise TypeError(
            f"a {type(module).__name__} whose {different[0]} was changed after it was made"
        )
    return description


def _class_of(module: nn.Module) -> type[nn.Module]:
    """The class that a file names for a layer: its own, or the one that it only renames."""
    kind = type(module)
    for base in kind.__mro__:
        if base in _NAMES:
            return base
        if not adds_nothing(base):
            break
    raise TypeError(f"a {kind.__module__}.{kind.__qualname__}, which a file cannot name")


def _parameters(kind: type[nn.Module]) -> frozenset[str]:
    """Names of the arguments that a layer of this class is made with."""
    names = inspect.signature(kind).parameters
    return frozenset(name for name in names if not name.startswith("_")) - _NOT_KEPT


def _argument(module: nn.Module, name: str) -> Any:
    """What an argument must have been, by what the layer is now."""
    if name not in _WEIGHTS:
        return getattr(module, name)
    return any(getattr(module, weight, None) is not None for weight in _WEIGHTS[name])


def _made(kind: type[nn.Module], arguments: Mapping[str, Any]) -> nn.Module:
    """A layer without memory."""
    with torch.device("meta"):
        return kind(**arguments).eval().requires_grad_(False)


def _differences(module: nn.Module, made: nn.Module) -> set[str]:
    """Names of what a layer made anew has and the layer has not, or has otherwise."""
    wanted, got = (layer.state_dict(keep_vars=True) for layer in (module, made))
    found = wanted.keys() ^ got.keys()
    found |= {name for name in wanted.keys() & got.keys() if wanted[name].shape != got[name].shape}
    for own, other in zip(made.modules(), module.modules(), strict=True):
        found |= {
            name
            for name, value in vars(own).items()
            if not isinstance(value, dict | Tensor) and getattr(other, name, None) != value
        }
    return found - {"training"}


def rebuild_module(description: Any, tensors: Loaded) -> nn.Module:
    """The layer that `describe_module` has described.

    Raises:
        Malformed: it describes none, or the tensors are not those of such a layer.
    """
    if not isinstance(description, dict) or set(description) != {"class", "arguments", "tensors"}:
        raise Malformed(f"{short(description)} is no layer")
    name, given, weights = (description[key] for key in ("class", "arguments", "tensors"))
    if not isinstance(name, str) or name not in CLASSES:
        raise Malformed(f"{short(name)} is no layer that a file may name")
    kind = CLASSES[name]
    if not isinstance(given, dict) or not set(given) <= _parameters(kind):
        raise Malformed(f"{short(given)} are no arguments of {name}")
    arguments = {argument: decode(value) for argument, value in given.items()}
    if next(refs(arguments), None) is not None:
        raise Malformed(f"an argument of {name} refers to a value of the network")
    try:
        layer = _made(kind, arguments)
    except REFUSALS as error:
        raise Malformed(f"{name} cannot be made with {short(given)}: {said(error)}") from error
    empty = layer.state_dict(keep_vars=True)
    if not isinstance(weights, dict) or set(weights) != set(empty):
        raise Malformed(f"{name} has the tensors {sorted(empty)}, found {short(weights)}")
    state = {
        key: (tensors.parameter if isinstance(empty[key], nn.Parameter) else tensors.get)(reference)
        for key, reference in weights.items()
    }
    for key, tensor in state.items():
        if tensor.shape != empty[key].shape:
            wanted = list(empty[key].shape)
            raise Malformed(f"{key} of {name} must be {wanted}, found {list(tensor.shape)}")
        floating = empty[key].is_floating_point() and tensor.is_floating_point()
        if not floating and tensor.dtype != empty[key].dtype:
            raise Malformed(f"{key} of {name} must be {empty[key].dtype}, found {tensor.dtype}")
    layer.load_state_dict(state, assign=True)
    return layer
