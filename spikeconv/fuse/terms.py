"""What enters a population's membranes, read off a network's program as convolutions of spikes."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.fuse.channels import Unsupported, image_shape
from spikeconv.fuse.layer import Pool
from spikeconv.fuse.view import ONE, View
from spikeconv.fuse.views import Views
from spikeconv.network.program import Program, Step
from spikeconv.network.vocabulary import BATCH_NORMS

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


@dataclass(frozen=True)
class Term:
    """One summand of a current: a layer's weights over a view, or the view itself.

    Attributes:
        view: what is read.
        layer: name of the convolution or linear layer; None for the spikes themselves.
        scale: what it is multiplied with, float64 ``[1]`` or ``[K]``.
    """

    view: View
    layer: str | None
    scale: Tensor = ONE


@dataclass(frozen=True)
class Current:
    """What enters a population at every step.

    Attributes:
        terms: what its sources' spikes add.
        bias: what is added besides, float64 ``[K]``; the layers' own biases are among it.
    """

    terms: tuple[Term, ...]
    bias: Tensor

    def __add__(self, other: Current) -> Current:
        return Current(self.terms + other.terms, self.bias + other.bias)


class Reader:
    """Reads currents off one program.

    Args:
        program, layers: the network's.
        constants: values of what depends on no input, by name of their step.
    """

    def __init__(
        self, program: Program, layers: Mapping[str, nn.Module], constants: Mapping[str, Any]
    ) -> None:
        self._layers = layers
        self._views = Views(program, layers, constants)

    @property
    def pools(self) -> dict[str, Pool]:
        """The pools that were met, by name of their step."""
        return self._views.pools

    def current(self, step: Step) -> Current:
        """The current of a neuron step.

        Raises:
            Unsupported: it is not a sum of convolutions of spikes and of spikes.
        """
        image_shape(step.shape)
        return self._current(step.args[0], ONE, step.shape)

    def _current(self, value: Any, scale: Tensor, shape: tuple[int, ...]) -> Current:
        """`scale` times a value."""
        constant = self._views.constant(value, shape)
        if constant is not None:
            return _biased((), scale * constant, shape)
        step = self._views.step(value)
        if step.shape != shape:
            raise Unsupported(f"{step.label} is repeated to {list(shape)} where it enters")
        is_call = step.kind in ("function", "method")
        if is_call and step.target in _SUMS and not {*step.kwargs} - {"alpha"}:
            first, second = step.args
            sign = _SUMS[step.target] * step.kwargs.get("alpha", 1)
            return self._current(first, scale, shape) + self._current(second, scale * sign, shape)
        if (scaled := self._views.scaled(step)) is not None:
            inner, factor = scaled
            return self._current(inner, scale * factor, shape)
        layer = self._layers[step.name] if step.kind == "module" else None
        if isinstance(layer, BATCH_NORMS):
            factor, bias = _affine(layer)
            inner = self._current(step.args[0], scale * factor, shape)
            return inner + _biased((), scale * bias, shape)
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            views = self._views.of(step.args[0])
            for view in views:
                _check_readable(layer, view, step)
            if isinstance(layer, nn.Linear) and len(self._views.step(step.args[0]).shape) != 1:
                raise Unsupported(f"{step.label} is a linear layer over one of several dimensions")
            bias = torch.zeros(1) if layer.bias is None else layer.bias.detach()
            terms = tuple(Term(view, step.name, scale) for view in views)
            return _biased(terms, scale * bias.to("cpu", torch.float64), shape)
        views = self._views.of(value)
        if any(view.flat or any(view.padding) for view in views):
            raise Unsupported(f"{step.label} reshapes spikes that enter membranes directly")
        return _biased(tuple(Term(view, None, scale) for view in views), 0 * ONE, shape)


def _biased(terms: tuple[Term, ...], bias: Tensor, shape: tuple[int, ...]) -> Current:
    return Current(terms, bias.expand(shape[0]))


def _affine(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """Batch norm at inference as factor and bias, float64 ``[K]``."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, var = (t.detach().to("cpu", torch.float64) for t in (norm.running_mean, norm.running_var))
    factor = (var + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.detach().to("cpu", torch.float64)
    bias = -mean * factor
    if norm.bias is not None:
        bias = bias + norm.bias.detach().to("cpu", torch.float64)
    return factor, bias


def _check_readable(layer: nn.Conv1d | nn.Conv2d | nn.Linear, view: View, step: Step) -> None:
    """Raise Unsupported where a layer's weights cannot be laid over a view."""
    if not view.whole:
        raise Unsupported(f"{step.label} reads a part of the spikes")
    if isinstance(layer, nn.Linear):
        if any(view.padding):
            raise Unsupported(f"{step.label} reads a part of the spikes")
        return
    if view.flat:
        raise Unsupported(f"{step.label} reads a part of the spikes")
    if layer.padding_mode != "zeros":
        raise Unsupported(f"{step.label} pads with padding_mode={layer.padding_mode!r}")
    if layer.groups > 1 and view.shape[0] != layer.in_channels:
        raise Unsupported(f"{step.label} has groups of channels, not all of one population")
