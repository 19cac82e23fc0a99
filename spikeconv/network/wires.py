"""What passes between neurons and the weights that read them: spikes, each on its own path.

Pooling, additions, reshaping and scaling hold no synapses: they are wires, which lead a spike to
one place or several. A spike that two windows of a pool let through arrives twice.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.network import vocabulary
from spikeconv.network.layers import RESHAPES
from spikeconv.network.padding import all_ones
from spikeconv.network.program import Step, fill, refs
from spikeconv.network.run_step import Layers, run_step
from spikeconv.network.structure import map_tensors

# From the arguments of a call, filled in with what arrives, to what arrives behind it.
Wire: TypeAlias = Callable[[Sequence[Any], Mapping[str, Any]], Any]

_POOL_MODULES: dict[Any, int] = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}
_POOLS = {F.avg_pool1d: 1, F.avg_pool2d: 2, F.avg_pool3d: 3}
_ADAPTIVE_MODULES: dict[Any, int] = {
    nn.AdaptiveAvgPool1d: 1,
    nn.AdaptiveAvgPool2d: 2,
    nn.AdaptiveAvgPool3d: 3,
}
_ADAPTIVE_POOLS = {F.adaptive_avg_pool1d: 1, F.adaptive_avg_pool2d: 2, F.adaptive_avg_pool3d: 3}
_SCALINGS = {operator.neg, torch.neg, torch.negative, F.batch_norm, "neg", "negative"}
_SCALINGS |= vocabulary.CASTS
_INTERPOLATIONS = (F.interpolate, F.upsample)
_NEAREST = ("nearest", "nearest-exact")  # which copy values
_COPIES = (
    vocabulary.LINEAR_FUNCTIONS
    | vocabulary.LINEAR_METHODS
    | vocabulary.RESHAPE_METHODS
    | vocabulary.CHOICES.keys()
    | {*RESHAPES, getattr}
)


@dataclass(frozen=True)
class Arriving:
    """What arrives at each place of a value ``[1, *]``, in float64; or tuples of such.

    Attributes:
        spikes: how many, over all images and steps.
        static: above 0 where something arrives that is the same at every step.
        current: above 0 where something arrives that is neither, such as the output of a layer.
    """

    spikes: Any
    static: Any
    current: Any

    def spikes_alone(self) -> Tensor:
        """The spikes where no current absorbs them into a value of its own."""
        spikes, current = self._tensors("spikes", "current")
        return spikes * (current == 0)

    def static_alone(self) -> Tensor:
        """1 where something static arrives and no current, else 0."""
        static, current = self._tensors("static", "current")
        return ((static > 0) & (current == 0)).double()

    def some_current(self) -> Tensor:
        """1 where a current arrives, else 0."""
        (current,) = self._tensors("current")
        return (current > 0).double()

    def _tensors(self, *names: str) -> list[Tensor]:
        return [getattr(self, name) for name in names]


def of_spikes(count: Tensor) -> Arriving:
    """Spikes of neurons, ``[1, *]``."""
    zero = _zeros(count)
    return Arriving(count.double(), zero, zero)


def of_static(there: Any) -> Arriving:
    """What is the same at every step, where it is something, or a tuple of such."""
    zero = map_tensors(_zeros, there)
    return Arriving(zero, there, zero)


def of_current(there: Any) -> Arriving:
    """What changes from step to step and is no spike, where it is something, or a tuple of such."""
    zero = map_tensors(_zeros, there)
    return Arriving(zero, zero, there)


def led(
    step: Step, layers: Layers, flows: Mapping[str, Arriving], others: Mapping[str, Any], there: Any
) -> Arriving:
    """What arrives behind a call of the temporal phase that holds no synapses.

    Where the call is no wire (the pool of a sum of spikes, bilinear interpolation), it gives a
    current.

    Args:
        step: the call.
        layers: holds its layer, if it calls one.
        flows: what arrives at the signals that it reads.
        others: all that it reads: weights, sizes and masks count as they are.
        there: where what it gives is something, `spikeconv.network.padding`.
    """
    signals = [ref.name for ref in refs((step.args, step.kwargs)) if ref.name in flows]
    if not signals or step.target in vocabulary.LIKE:
        return of_static(there)
    wire = _wire(step, layers)
    if wire is None or (step.target in vocabulary.PRODUCT_CALLS and len(signals) > 1):
        return of_current(there)

    def component(name: str) -> Any:
        def read(ref: str) -> Any:
            if ref in flows and not _is_mask(others[ref]):
                return getattr(flows[ref], name)
            return _weightless(step, others[ref])

        return wire(fill(step.args, read), fill(step.kwargs, read))

    return Arriving(component("spikes"), component("static"), component("current"))


def _is_mask(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bool


def _weightless(step: Step, other: Any) -> Any:
    """A weight that lets a signal through as it is: 1 as a factor, 0 as a term."""
    if not isinstance(other, Tensor) or not other.is_floating_point():
        return other
    return all_ones(other) if step.target in vocabulary.PRODUCT_CALLS else _zeros(other)


def _wire(step: Step, layers: Layers) -> Wire | None:
    """How a call leads spikes on; None where it is no wire."""
    target: Any = layers[step.target] if step.kind == "module" else step.target
    if isinstance(target, vocabulary.BATCH_NORMS) or target in _SCALINGS:
        return lambda args, kwargs: _operands(args, kwargs)[0]
    if target in vocabulary.SUM_CALLS:
        return lambda args, kwargs: sum(_operands(args, kwargs))
    if target in vocabulary.PRODUCT_CALLS:
        return lambda args, kwargs: math.prod(_operands(args, kwargs))
    if target in (torch.mean, "mean"):
        return lambda args, kwargs: torch.sum(*args, **_without(kwargs, "dtype"))
    if target in _POOLS:
        return partial(_pooled, _POOLS[target])
    if type(target) in _POOL_MODULES:
        window = (target.kernel_size, target.stride, target.padding, target.ceil_mode)
        return lambda args, kwargs: _pooled(_POOL_MODULES[type(target)], (args[0], *window), {})
    if target in _ADAPTIVE_POOLS:
        return lambda args, kwargs: _adaptively_pooled(_ADAPTIVE_POOLS[target], *args, **kwargs)
    if type(target) in _ADAPTIVE_MODULES:
        dims, size = _ADAPTIVE_MODULES[type(target)], target.output_size
        return lambda args, kwargs: _adaptively_pooled(dims, args[0], size)
    if isinstance(target, nn.Upsample) or target in _INTERPOLATIONS:
        if _mode(step, target) not in _NEAREST:
            return None  # it mixes values of several places
        return lambda args, kwargs: _copied(step, layers, args, kwargs)
    if isinstance(target, vocabulary.LINEAR_MODULES) or target in _COPIES:
        return lambda args, kwargs: _copied(step, layers, args, kwargs)
    return None


def _mode(step: Step, target: Any) -> Any:
    """How a call interpolates."""
    if isinstance(target, nn.Upsample):
        return target.mode
    return step.args[3] if len(step.args) > 3 else step.kwargs.get("mode", "nearest")


def _operands(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors among the arguments: the other operand may be a number."""
    return [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]


def _without(kwargs: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in names}


def _copied(step: Step, layers: Layers, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a call gives that only moves values; less what it adds, such as a border of ones."""
    moved = run_step(step, layers, args, kwargs)
    added = run_step(step, layers, map_tensors(_blank, tuple(args)), map_tensors(_blank, kwargs))
    # A mask may fill in infinities, of which the difference is no number.
    return map_tensors(lambda a, b: (a - b).nan_to_num(), moved, added)


def _blank(x: Tensor) -> Tensor:
    """0 in place of what arrives; an index stays."""
    return torch.zeros_like(x) if x.is_floating_point() else x


def _pooled(dims: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """The sums over the windows of an average pool, called with its function's arguments."""
    names = ("input", "kernel_size", "stride", "padding", "ceil_mode")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    x, window = given["input"], {name: given[name] for name in names[1:] if name in given}
    if dims == 3:
        return F.avg_pool3d(x, **window, count_include_pad=True, divisor_override=1)
    if dims == 2:
        return F.avg_pool2d(x, **window, count_include_pad=True, divisor_override=1)
    flat = {"kernel_size": 1, "stride": 1, "padding": 0}  # of the dimension that is added
    for name, size in window.items():
        if name in flat and size is not None:
            window[name] = (flat[name], *(size if isinstance(size, tuple | list) else (size,)))
    return _pooled(2, (x.unsqueeze(-2),), window).squeeze(-2)


def _adaptively_pooled(dims: int, input: Tensor, output_size: Any) -> Tensor:
    """The sums over the windows of an adaptive average pool over the last dimensions."""
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size,) * dims
    for dim, size in enumerate(sizes, start=input.dim() - dims):
        length = input.shape[dim]
        j = torch.arange(length if size is None else size, device=input.device)
        start, end = j * length // len(j), -((j + 1) * length // -len(j))
        before = F.pad(input.cumsum(dim).movedim(dim, -1), (1, 0)).movedim(-1, dim)
        input = before.index_select(dim, end) - before.index_select(dim, start)
    return input


def _zeros(x: Tensor) -> Tensor:
    return torch.zeros_like(x, dtype=torch.float64)
