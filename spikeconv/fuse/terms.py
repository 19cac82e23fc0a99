"""What enters a population's membranes, read off a network's program as convolutions of spikes."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from spikeconv.convert.layers import reshape_like, reshape_samples, squeeze_samples
from spikeconv.convert.program import Phase, Program, Ref, Step
from spikeconv.convert.vocabulary import AVERAGE_POOL_ARGUMENTS
from spikeconv.fuse.layer import LARGEST_COUNT, Pair, Pool

_SUMS: dict[Any, float] = {
    operator.add: 1.0,
    torch.add: 1.0,
    "add": 1.0,
    operator.sub: -1.0,
    torch.sub: -1.0,
    torch.subtract: -1.0,
    "sub": -1.0,
    "subtract": -1.0,
}
_FLATTENS = (
    *(torch.flatten, "flatten", "view", "reshape"),
    *(reshape_samples, reshape_like, squeeze_samples),
)
_POOLS = (F.avg_pool1d, F.avg_pool2d)
_ADAPTIVE_POOLS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)


class Unsupported(Exception):
    """What has no form in integers, in words that follow the name of the layer."""


@dataclass(frozen=True)
class View:
    """Spikes of a source as a layer sees them.

    Attributes:
        source: name of the population or pool.
        population: whose spikes they are.
        shape: ``(C, H, W)`` of the source.
        factor: what one spike of amplitude theta is multiplied with: of a pool, 1 / its window.
        padding: zeros around it (left, right, above, below).
        stride: every so many rows and columns are seen.
        channel: channels of zeros before its own.
        flat: it is seen as ``[C * H * W]``.
    """

    source: str
    population: str
    shape: tuple[int, int, int]
    factor: float = 1.0
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    stride: Pair = (1, 1)
    channel: int = 0
    flat: bool = False

    @property
    def plain(self) -> bool:
        """Whether the layer sees the source as it is, but for zeros around it."""
        return self.stride == (1, 1) and self.channel == 0


@dataclass(frozen=True)
class Term:
    """One summand of a current: a layer's weights over a view, or the view itself.

    Attributes:
        view: what is read.
        layer: name of the convolution or linear layer; None for the spikes themselves.
        sign: 1 or -1.
    """

    view: View
    layer: str | None
    sign: float = 1.0


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A population's shape as channels, rows and columns; ``[C]`` and ``[C, L]`` have one row."""
    if not 1 <= len(shape) <= 3:
        raise Unsupported(f"neurons of shape {list(shape)} are not channels of an image")
    channels, *size = shape
    height, width = (1, 1, *size)[-2:]
    return channels, height, width


class Reader:
    """Reads currents off one program.

    Attributes:
        pools: the pools that were met, by name of their step.
    """

    def __init__(self, program: Program, layers: Mapping[str, nn.Module]) -> None:
        self._steps = {step.name: step for step in program.steps}
        self._layers = layers
        self.pools: dict[str, Pool] = {}

    def current(self, step: Step) -> tuple[Term, ...]:
        """The terms of a neuron step's current.

        Raises:
            Unsupported: it is not a sum of convolutions of spikes and of spikes.
        """
        image_shape(step.shape)
        return tuple(self._terms(step.args[0], 1.0, step.shape))

    def _terms(self, value: Any, sign: float, shape: tuple[int, ...]) -> list[Term]:
        step = self._step(value)
        if step.shape != shape:
            raise Unsupported(f"{step.label} is repeated to {list(shape)} where it enters")
        if step.kind in ("function", "method") and step.target in _SUMS and not step.kwargs:
            first, second = step.args
            both = self._terms(first, sign, shape)
            return both + self._terms(second, sign * _SUMS[step.target], shape)
        layer = self._layers[step.name] if step.kind == "module" else None
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            view = self._view(step.args[0])
            if not view.plain or view.flat:
                raise Unsupported(f"{step.label} reads a part of the spikes")
            if layer.padding_mode != "zeros":
                raise Unsupported(f"{step.label} pads with padding_mode={layer.padding_mode!r}")
            return [Term(view, step.name, sign)]
        if isinstance(layer, nn.Linear):
            view = self._view(step.args[0])
            if not view.plain or any(view.padding):
                raise Unsupported(f"{step.label} reads a part of the spikes")
            if not view.flat and view.shape[1:] != (1, 1):
                raise Unsupported(f"{step.label} is a linear layer over one of several dimensions")
            return [Term(view, step.name, sign)]
        view = self._view(value)
        if view.flat or any(view.padding):
            raise Unsupported(f"{step.label} reshapes spikes that enter membranes directly")
        return [Term(view, None, sign)]

    def _step(self, value: Any) -> Step:
        if not isinstance(value, Ref) or value.name not in self._steps:
            raise Unsupported("a current that is the same at every step enters it")
        step = self._steps[value.name]
        if step.phase is not Phase.TEMPORAL:
            raise Unsupported(f"{step.label}, which is the same at every step, enters it")
        return step

    def _view(self, value: Any) -> View:
        step = self._step(value)
        if step.kind == "neuron":
            return View(step.name, step.name, image_shape(step.shape))
        if step.kind == "max_pool":
            raise Unsupported(f"{step.label} is max pooling of what varies in time")
        if not step.args or not isinstance(step.args[0], Ref):
            raise Unsupported(f"{step.label} has no integer form")
        layer = self._layers[step.name] if step.kind == "module" else None
        pooled = self._pool(step, layer)
        if pooled is not None:
            return pooled
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            raise Unsupported(f"{step.label} has no neurons behind it, so that it gives no spikes")
        source = self._view(step.args[0])
        if isinstance(layer, nn.Flatten) or step.target in _FLATTENS:
            if len(step.shape) != 1 or not source.plain or any(source.padding):
                raise Unsupported(f"{step.label} reshapes the spikes")
            return replace(source, flat=True)
        if isinstance(layer, nn.ZeroPad1d | nn.ZeroPad2d):
            return _padded(source, tuple(layer.padding), step)
        if step.target is F.pad and _is_zero_padding(step):
            return _padded(source, tuple(step.args[1]), step)
        if step.target is operator.getitem:
            return _subsampled(source, step)
        raise Unsupported(f"{step.label} has no integer form")

    def _pool(self, step: Step, layer: nn.Module | None) -> View | None:
        """The view of an average pool's sums, or None where the step is none."""
        window = _window(step, layer, self._steps[step.args[0].name].shape)
        if window is None:
            return None
        kernel, stride, padding = window
        source = self._view(step.args[0])
        if source.source in self.pools or not source.plain or any(source.padding) or source.flat:
            raise Unsupported(f"{step.label} pools what is not the spikes of a population")
        if kernel[0] * kernel[1] > LARGEST_COUNT:
            raise Unsupported(
                f"{step.label} adds up {kernel[0] * kernel[1]} spikes, more than {LARGEST_COUNT}"
            )
        shape = image_shape(step.shape)
        self.pools[step.name] = Pool(step.name, source.source, kernel, stride, padding, shape)
        return View(step.name, source.population, shape, 1.0 / (kernel[0] * kernel[1]))


def _is_zero_padding(step: Step) -> bool:
    mode = step.args[2] if len(step.args) > 2 else step.kwargs.get("mode", "constant")
    value = step.args[3] if len(step.args) > 3 else step.kwargs.get("value")
    return len(step.args) > 1 and mode == "constant" and not value


def _padded(view: View, padding: tuple[int, ...], step: Step) -> View:
    """A view with zeros around it; zeros before its channels are a shortcut's (option A)."""
    left, right, above, below, front, back = (*padding, *[0] * (6 - len(padding)))
    if len(padding) > 6 or min(padding) < 0 or view.flat:
        raise Unsupported(f"{step.label} cuts or reshapes the spikes")
    if len(step.shape) < 3 and any((above, below, front, back)):
        raise Unsupported(f"{step.label} pads more than the positions of a sequence")
    around = left, right, above, below
    if any(around) and any((front, back)):
        raise Unsupported(f"{step.label} pads positions and channels at once")
    if any(around) and not view.plain:
        raise Unsupported(f"{step.label} pads a part of the spikes")
    before = view.padding
    both = before[0] + left, before[1] + right, before[2] + above, before[3] + below
    return replace(view, padding=both, channel=view.channel + front)


def _subsampled(view: View, step: Step) -> View:
    """Every so many rows and columns."""
    index = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
    everything = slice(None)
    strides = [
        part.step or 1
        for part in index[2:]
        if isinstance(part, slice) and part.start in (None, 0) and part.stop is None
    ]
    if (
        len(index) != len(step.shape) + 1
        or len(strides) != len(index) - 2
        or any(part != everything for part in index[:2])
        or not view.plain
        or any(view.padding)
        or view.flat
    ):
        raise Unsupported(f"{step.label} takes a part of the spikes")
    sy, sx = (1, 1, *strides)[-2:]
    return replace(view, stride=(sy, sx))


def _window(
    step: Step, layer: nn.Module | None, shape: tuple[int, ...]
) -> tuple[Pair, Pair, Pair] | None:
    """(kernel, stride, padding) of average pooling; None where the step is another call."""
    rank = len(shape) - 1
    if isinstance(layer, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d) or (
        step.kind == "function" and step.target in _ADAPTIVE_POOLS
    ):
        if not shape or any(a % b for a, b in zip(shape[1:], step.shape[1:], strict=True)):
            raise Unsupported(f"{step.label} pools windows of several sizes")
        size = _pair(tuple(a // b for a, b in zip(shape[1:], step.shape[1:], strict=True)), rank, 1)
        return size, size, (0, 0)
    if isinstance(layer, nn.AvgPool1d | nn.AvgPool2d):
        given = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding")}
        whole = layer.count_include_pad and not layer.ceil_mode
        divisor = getattr(layer, "divisor_override", None)
    elif step.kind == "function" and step.target in _POOLS:
        usual = AVERAGE_POOL_ARGUMENTS
        given = usual | dict(zip(usual, step.args[1:], strict=False))
        given |= step.kwargs
        whole = given["count_include_pad"] and not given["ceil_mode"]
        divisor = given["divisor_override"]
    else:
        return None
    kernel = _pair(given["kernel_size"], rank, 1)
    stride = _pair(given["stride"] or given["kernel_size"], rank, 1)
    padding = _pair(given["padding"], rank, 0)
    if divisor is not None:
        raise Unsupported(f"{step.label} divides by a number of its own")
    if not whole and (any(padding) or not _divides(shape, kernel, stride, rank)):
        raise Unsupported(f"{step.label} divides windows at the border by another number")
    return kernel, stride, padding


def _divides(shape: tuple[int, ...], kernel: Pair, stride: Pair, rank: int) -> bool:
    """Whether no window reaches beyond the image."""
    sizes = (1, *shape[1:])[-2:] if rank == 1 else shape[1:]
    return all((n - k) % s == 0 for n, k, s in zip(sizes, kernel, stride, strict=True))


def _pair(value: Any, rank: int, missing: int) -> Pair:
    """A number or a tuple as (vertical, horizontal); a sequence has no vertical."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    values = values * rank if len(values) == 1 else values
    vertical, horizontal = (missing, *values)[-2:]
    return int(vertical), int(horizontal)
