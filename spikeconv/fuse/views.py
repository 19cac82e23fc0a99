"""What a layer reads: spikes of populations, seen through pools, padding and constants."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.fuse.channels import Unsupported, image_shape, per_channel
from spikeconv.fuse.layer import LARGEST_COUNT, Pool
from spikeconv.fuse.view import (
    NONE,
    ONE,
    View,
    flattened,
    padded,
    subsampled,
    transformed,
    zero_padding,
)
from spikeconv.fuse.windows import pool_window
from spikeconv.network.layers import RESHAPES
from spikeconv.network.program import Phase, Program, Ref, Step, fill, refs
from spikeconv.network.subclasses import is_changed_itself
from spikeconv.network.vocabulary import BATCH_NORMS, PRODUCT_FUNCTIONS, PRODUCT_METHODS

SUMS: dict[Any, float] = {
    operator.add: 1.0,
    torch.add: 1.0,
    "add": 1.0,
    operator.sub: -1.0,
    torch.sub: -1.0,
    torch.subtract: -1.0,
    "sub": -1.0,
    "subtract": -1.0,
}
"""Sums of two values, by what the second is multiplied with."""

_PRODUCTS = PRODUCT_FUNCTIONS | PRODUCT_METHODS
_NEGATIVES = (operator.neg, torch.neg, torch.negative, "neg", "negative")
_JOINS = (torch.cat, torch.concat, torch.concatenate)
_ARITHMETIC = (
    *(operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv),
    *(operator.mod, operator.neg, operator.truediv, int, max, min),
)
_FLATTENS = (
    *(torch.flatten, "flatten", "view", "reshape"),
    *RESHAPES,
)


class Views:
    """Reads one program backwards, from a value to the spikes that it is made of.

    Args:
        program, layers: the network's.
        constants: values of what depends on no input, by name of their step.

    Attributes:
        pools: the pools that were met, by name of their step.
    """

    def __init__(
        self, program: Program, layers: Mapping[str, nn.Module], constants: Mapping[str, Any]
    ) -> None:
        self._steps = {step.name: step for step in program.steps}
        self._inputs = {item.name: item.shape for item in program.inputs}
        self._layers = layers
        self._constants = constants
        self._numbers: dict[str, Any] = {}
        self._summed: dict[str, bool] = {}
        self.pools: dict[str, Pool] = {}

    def step(self, value: Any) -> Step:
        """The temporal step that gives a value."""
        if not isinstance(value, Ref) or value.name not in self._steps:
            raise Unsupported("a current that is the same at every step enters it")
        step = self._steps[value.name]
        if step.phase is not Phase.TEMPORAL:
            raise Unsupported(f"{step.label}, which is the same at every step, enters it")
        if step.kind == "module" and is_changed_itself(self._layers[step.target]):
            raise Unsupported(
                f"{step.label} has a hook of its own, or another method in place of its class's"
            )
        args, kwargs = fill((step.args, step.kwargs), self._number_of)
        return replace(step, args=args, kwargs=kwargs)

    def _number_of(self, name: str) -> Any:
        """What a shape, or arithmetic on shapes, gives for images of this size; else the `Ref`."""
        if name not in self._numbers:
            self._numbers[name] = self._number(self._steps[name]) if name in self._steps else None
        found = self._numbers[name]
        return Ref(name) if found is None else found

    def _number(self, step: Step) -> Any:
        """`_number_of` a step that is a shape or arithmetic; None of any other."""
        is_size = step.kind == "method" and step.target == "size"
        if is_size or (step.target is getattr and step.args[1] == "shape"):
            source = self._steps.get(step.args[0].name)
            if source is None or source.phase is not Phase.TEMPORAL:
                return None  # of which only the shape in calibration is known
            shape = torch.Size((1, *source.shape))
            dim = [*step.args[1:], *step.kwargs.values()] if is_size else []
            return shape[dim[0]] if dim else shape
        if step.kind != "function" or step.target not in _ARITHMETIC or step.kwargs:
            return None
        args = fill(step.args, self._number_of)
        return None if any(True for _ in refs(args)) else step.target(*args)

    def static(self, value: Any) -> tuple[int, ...] | None:
        """The shape of an image's value that is the same at every step; None of another."""
        if not isinstance(value, Ref) or value.name in self._inputs:
            return self._inputs.get(value.name) if isinstance(value, Ref) else None
        step = self._steps.get(value.name)
        return step.shape if step is not None and step.phase is Phase.STATIC else None

    def is_summed(self, value: Any) -> bool:
        """Whether a value is what layers make of spikes, or a sum with that, or with what is the
        same at every step: no spikes themselves."""
        if not isinstance(value, Ref) or value.name not in self._steps:
            return False
        if value.name not in self._summed:
            self._summed[value.name] = self._is_summed(self._steps[value.name])
        return self._summed[value.name]

    def _is_summed(self, step: Step) -> bool:
        if step.phase is not Phase.TEMPORAL:
            return False
        if step.kind == "module":
            layer = self._layers[step.name]
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
                return True
            return isinstance(layer, BATCH_NORMS) and self.is_summed(step.args[0])
        if step.target in SUMS:
            return any(self.is_summed(arg) or self.static(arg) is not None for arg in step.args)
        scaled = step.target in _PRODUCTS or step.target in _NEGATIVES
        return scaled and any(self.is_summed(arg) for arg in step.args)

    def constant(self, value: Any, shape: tuple[int, ...]) -> Tensor | None:
        """What depends on no input, for values of that shape: float64 ``[1]`` or ``[K]``; or None.

        Raises:
            Unsupported: it differs within a channel.
        """
        if isinstance(value, Ref):
            if value.name not in self._constants:
                return None
            value = self._constants[value.name]
        if isinstance(value, int | float):
            return ONE * value
        if not isinstance(value, Tensor) or value.is_complex():
            return None
        try:
            one = value.expand(1, *shape)[0]
        except RuntimeError:
            raise Unsupported("a constant has more dimensions than what it is applied to") from None
        return per_channel(one, shape, "a constant that is applied to its current")

    def affine(self, step: Step) -> tuple[Any, Tensor, Tensor] | None:
        """Of a step that is a factor times one value plus a constant: the value and both; or None.

        Such are products, quotients and sums with a constant, changes of sign, and batch norm.
        """
        if step.kind == "module" and isinstance(norm := self._layers[step.name], BATCH_NORMS):
            return step.args[0], *_as_affine(norm)
        if step.kind not in ("function", "method"):
            return None
        if step.target in SUMS and len(step.args) == 2 and not {*step.kwargs} - {"alpha"}:
            return self._shifted(step)
        if step.kwargs:
            return None
        if step.target in _NEGATIVES:
            return step.args[0], -ONE, NONE
        if step.target not in _PRODUCTS or len(step.args) != 2:
            return None
        first, second = step.args
        if "div" in str(getattr(step.target, "__name__", step.target)):
            divisor = self.constant(second, step.shape)
            return None if divisor is None else (first, 1 / divisor, NONE)
        for value, other in ((first, second), (second, first)):
            factor = self.constant(other, step.shape)
            if factor is not None:
                return value, factor, NONE
        return None

    def _shifted(self, step: Step) -> tuple[Any, Tensor, Tensor] | None:
        first, second = step.args
        sign = ONE * SUMS[step.target] * step.kwargs.get("alpha", 1)
        if (constant := self.constant(second, step.shape)) is not None:
            return first, ONE, sign * constant
        if (constant := self.constant(first, step.shape)) is not None:
            return second, sign, constant
        return None

    def of(self, value: Any) -> tuple[View, ...]:
        """The views that make up a value, each with channels of its own.

        Raises:
            Unsupported: it is made in another way.
        """
        step = self.step(value)
        if step.kind == "neuron":
            return (View(step.name, step.name, image_shape(step.shape)),)
        if step.kind == "max_pool":
            raise Unsupported(f"{step.label} is max pooling of what varies in time")
        if step.target in _JOINS and step.kind == "function":
            return self._joined(step)
        if (affine := self.affine(step)) is not None:
            value, factor, shift = affine
            if self.step(value).shape != step.shape:
                raise Unsupported(f"{step.label} repeats what it is applied to")
            return transformed(self.of(value), factor, shift, step)
        if not step.args or not isinstance(step.args[0], Ref):
            raise Unsupported(f"{step.label} has no integer form")
        if step.target in SUMS:
            raise Unsupported(f"{step.label} adds up spikes before a layer reads them")
        if any(True for _ in refs((step.args[1:], step.kwargs))):
            more = "a second value, an unknown size, or a constant that is no factor or summand"
            raise Unsupported(f"{step.label} reads {more}")
        layer = self._layers[step.name] if step.kind == "module" else None
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            what = "is sliced, joined with others or read by a layer before neurons are made of it"
            raise Unsupported(f"what {step.label} gives is no spikes, and {what}")
        pooled = self._pool(step, layer)
        if pooled is not None:
            return (pooled,)
        if isinstance(layer, nn.Flatten) or step.target in _FLATTENS:
            return tuple(flattened(view, step) for view in self.of(step.args[0]))
        if (padding := zero_padding(step, layer)) is not None:
            return tuple(padded(view, padding, step) for view in self.of(step.args[0]))
        if step.target is operator.getitem:
            return (subsampled(self._one(step), step),)
        raise Unsupported(f"{step.label} has no integer form")

    def _one(self, step: Step) -> View:
        """The one view that a step reads."""
        views = self.of(step.args[0])
        if len(views) > 1:
            raise Unsupported(f"{step.label} reads several populations that were joined")
        return views[0]

    def _joined(self, step: Step) -> tuple[View, ...]:
        """Populations that are concatenated, channels behind channels."""
        parts, *rest = step.args
        if not isinstance(parts, tuple | list):
            raise Unsupported(f"{step.label} joins parts of one value")
        (dim,) = (*rest, *step.kwargs.values()) or (0,)
        if dim % (len(step.shape) + 1) != 1:
            raise Unsupported(f"{step.label} joins what are not channels")
        views: list[View] = []
        first = 0
        for part in parts:
            if self.static(part) is not None:
                raise Unsupported(f"{step.label} joins spikes and what is the same at every step")
            for view in self.of(part):
                if view.flat:
                    raise Unsupported(f"{step.label} joins values that were reshaped")
                views.append(replace(view, channel=first + view.channel))
            first += self.step(part).shape[0]
        return tuple(views)

    def _pool(self, step: Step, layer: nn.Module | None) -> View | None:
        """The view of an average pool's sums, or None where the step is none."""
        window = pool_window(step, layer, self.step(step.args[0]).shape)
        if window is None:
            return None
        kernel, stride, padding = window
        source = self._one(step)
        if source.source in self.pools or not source.plain or any(source.padding) or source.flat:
            raise Unsupported(f"{step.label} pools what is not the spikes of a population")
        if any(padding) and bool(source.shift.any()):
            raise Unsupported(
                f"{step.label} pools zeros beside values that a constant was added to"
            )
        if kernel[0] * kernel[1] > LARGEST_COUNT:
            raise Unsupported(
                f"{step.label} adds up {kernel[0] * kernel[1]} spikes, more than {LARGEST_COUNT}"
            )
        shape = image_shape(step.shape)
        self.pools[step.name] = Pool(step.name, source.source, kernel, stride, padding, shape)
        factor = source.factor / (kernel[0] * kernel[1])
        return View(step.name, source.population, shape, factor, source.shift)


def _as_affine(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """Batch norm at inference as factor and shift, float64 ``[K]``."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, var = (t.detach().to("cpu", torch.float64) for t in (norm.running_mean, norm.running_var))
    factor = (var + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.detach().to("cpu", torch.float64)
    shift = -mean * factor
    if norm.bias is not None:
        shift = shift + norm.bias.detach().to("cpu", torch.float64)
    return factor, shift
