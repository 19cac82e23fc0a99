"""Every spelling of max(x, 0) and of min(max(x, 0), cap), and the current x that it rectifies."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from spikeconv.activation import QCFS, Clip
from spikeconv.network.layers import Rectifier
from spikeconv.network.subclasses import computes_as
from spikeconv.network.vocabulary import CASTS, PRODUCT_FUNCTIONS, PRODUCT_METHODS
from spikeconv.passes.kinds import argument
from spikeconv.passes.trace import called

Found = tuple[fx.Node, Rectifier]

_RELU = (F.relu, torch.relu, "relu")
_LEAKY = (F.leaky_relu, "leaky_relu")
_CLAMP = (torch.clamp, torch.clip, "clamp", "clip")
_CLAMP_MIN = (torch.clamp_min, "clamp_min")
_CLAMP_MAX = (torch.clamp_max, "clamp_max")
_MAXIMUM = (torch.maximum, torch.max, torch.fmax, "maximum", "max", "fmax")
_MINIMUM = (torch.minimum, torch.min, torch.fmin, "minimum", "min", "fmin")
_ABOVE = (operator.gt, operator.ge, torch.gt, torch.ge, "gt", "ge")
_BELOW = (operator.lt, operator.le, torch.lt, torch.le, "lt", "le")
_ZEROS = (torch.zeros_like, "new_zeros")
_ONES = (torch.ones_like, "new_ones")


def as_rectifier(node: fx.Node, modules: dict[str, nn.Module]) -> Found | None:
    """The current that a call rectifies, and its rectifier; None where the call is none.

    The bound may be taken before or after: min(max(x, 0), a) = max(min(x, a), 0) for a > 0.
    """
    found = _rectified(node, modules) or _masked(node)
    if found is None:
        bound = _at_most(node)
        if bound is None or bound[0].op != "call_module":
            return None
        inner = modules[str(bound[0].target)]
        if not isinstance(inner, Rectifier) or inner.levels is not None:
            return None
        current, rectifier = bound[0].args[0], inner
    else:
        current, rectifier = found
        bound = _at_most(current) if rectifier.levels is None else None
        current = current if bound is None else bound[0]
    if not isinstance(current, fx.Node) or not _alike(node, current):
        return None
    if current.meta.get("constant"):
        return None  # of no image: a number that is computed once, and no neuron
    if bound is not None:
        trained = rectifier.trained or bound[2]
        rectifier = Rectifier(min(rectifier.cap, bound[1]), trained=trained)
    return current, rectifier


def _number(value: Any) -> float | None:
    """A number, also where it is the one value of a constant tensor."""
    if isinstance(value, fx.Node):
        if called_name(value) in _ZEROS:
            return 0.0
        if called_name(value) in _ONES:
            return 1.0
        if called_name(value) is torch.full_like:
            return _number(argument(value, 1, "fill_value"))
        return value.meta.get("number")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def called_name(node: fx.Node) -> Any:
    """What a call of a function or method calls; None for any other node."""
    return node.target if node.op in ("call_function", "call_method") else None


def _alike(node: fx.Node, current: fx.Node) -> bool:
    """Whether a call keeps its operand's shape and dtype: nothing else was broadcast into it."""
    return all(node.meta.get(key) == current.meta.get(key) for key in ("shape", "dtype"))


def _rectified(node: fx.Node, modules: dict[str, nn.Module]) -> Found | None:
    """A call that says max(x, 0), or min(max(x, 0), cap), by itself."""
    target = called(node, modules)
    x = argument(node, 0, "input")
    if isinstance(target, nn.Module):
        rectifier = _module(target)
        return (x, rectifier) if rectifier is not None and isinstance(x, fx.Node) else None
    low: Any = 0
    high: Any = None
    if target is F.relu6:
        high = 6
    elif target in _LEAKY:
        low = argument(node, 1, "negative_slope", 0.01)
    elif target in (F.threshold, torch.threshold):
        ends = (argument(node, 1, "threshold"), argument(node, 2, "value"))
        low = 0 if ends == (0, 0) else None
    elif target is F.hardtanh:
        low, high = argument(node, 1, "min_val", -1.0), argument(node, 2, "max_val", 1.0)
    elif target in _CLAMP:
        low, high = argument(node, 1, "min"), argument(node, 2, "max")
    elif target in _CLAMP_MIN:
        low = argument(node, 1, "min")
    elif target in _MAXIMUM:
        x, low = _and_number(node)
    elif target not in _RELU:
        return None
    cap = math.inf if high is None else _number(high)
    if not isinstance(x, fx.Node) or _number(low) != 0 or cap is None or not cap > 0:
        return None
    return x, Rectifier(cap, trained=_is_parameter(high))


def _module(module: nn.Module) -> Rectifier | None:
    if computes_as(module, nn.ReLU):
        return Rectifier()
    if computes_as(module, nn.Hardtanh, nn.ReLU6):
        low, high = module.min_val, module.max_val
        return Rectifier(float(high)) if low == 0 < high else None  # type: ignore[arg-type,operator]
    if computes_as(module, nn.Threshold):
        return Rectifier() if module.threshold == 0 and module.value == 0 else None
    if computes_as(module, nn.LeakyReLU):
        return Rectifier() if module.negative_slope == 0 else None
    if isinstance(module, Clip) and computes_as(module, Clip, QCFS):
        levels = int(module.levels) if isinstance(module, QCFS) else None
        return Rectifier(float(module.cap()), levels, trained=True)
    return None


def _and_number(node: fx.Node) -> tuple[Any, float | None]:
    """The operands of a call that does not mind their order: the value, and the number."""
    a, b = argument(node, 0, "input"), argument(node, 1, "other")
    if isinstance(node.kwargs.get("dim"), int) or isinstance(b, int | float):
        return None, None  # a maximum over a dimension
    return (a, _number(b)) if _number(b) is not None else (b, _number(a))


def _at_most(node: Any) -> tuple[fx.Node, float, bool] | None:
    """Of a call min(x, a) with a > 0: x, a, and whether a is a parameter; else None."""
    name = called_name(node) if isinstance(node, fx.Node) else None
    if name in _MINIMUM:
        x, a = _and_number(node)
        trained = any(_is_parameter(value) for value in node.args)
    elif name in _CLAMP_MAX or (name in _CLAMP and argument(node, 1, "min") is None):
        bound = argument(node, 1 if name in _CLAMP_MAX else 2, "max")
        x, a, trained = argument(node, 0, "input"), _number(bound), _is_parameter(bound)
    else:
        return None
    return (x, a, trained) if isinstance(x, fx.Node) and a is not None and a > 0 else None


def _is_parameter(value: Any) -> bool:
    return isinstance(value, fx.Node) and bool(value.meta.get("parameter"))


def _masked(node: fx.Node) -> Found | None:
    """A choice between x and 0 by the sign of x: where, masked_fill, a product with a mask."""
    name = called_name(node)
    if name is torch.where:
        mask, yes, no = (
            argument(node, i, n) for i, n in enumerate(("condition", "input", "other"))
        )
    elif name == "where":
        yes, mask, no = (
            argument(node, 0, "input"),
            argument(node, 1, "condition"),
            argument(node, 2, "other"),
        )
    elif name in (torch.masked_fill, "masked_fill"):
        no, mask, yes = (
            argument(node, 0, "input"),
            argument(node, 1, "mask"),
            argument(node, 2, "value"),
        )
    elif name in (PRODUCT_FUNCTIONS | PRODUCT_METHODS) and "mul" in getattr(
        name, "__name__", str(name)
    ):
        first, second = argument(node, 0, "input"), argument(node, 1, "other")
        for x, factor in ((first, second), (second, first)):
            if _sign_test(_uncast(factor)) == (x, True):
                return x, Rectifier()
        return None
    else:
        return None
    test = _sign_test(mask)
    if test is None:
        return None
    x, above = test
    kept, other = (yes, no) if above else (no, yes)
    return (x, Rectifier()) if kept is x and _number(other) == 0 else None


def _uncast(value: Any) -> Any:
    """A mask behind its conversion to numbers."""
    cast = isinstance(value, fx.Node) and called_name(value) in CASTS
    return value.args[0] if cast else value


def _sign_test(mask: Any) -> tuple[Any, bool] | None:
    """Of a comparison of x with 0: x, and whether it holds above 0; else None.

    At 0 itself it may say either: both choices are 0.
    """
    name = called_name(mask) if isinstance(mask, fx.Node) else None
    if name not in (*_ABOVE, *_BELOW) or _number(argument(mask, 1, "other")) != 0:
        return None
    return argument(mask, 0, "input"), name in _ABOVE
