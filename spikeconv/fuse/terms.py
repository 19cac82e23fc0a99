"""What enters a population's membranes, read off a network's program as convolutions of spikes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.fuse.channels import Unsupported, image_shape
from spikeconv.fuse.layer import Pool
from spikeconv.fuse.view import NONE, ONE, View, shifts
from spikeconv.fuse.views import SUMS, Views
from spikeconv.network.program import Program, Step


@dataclass(frozen=True)
class Term:
    """One summand of a current: a layer's weights over a view, or the view itself.

    Attributes:
        view: what is read.
        layer: name of the convolution or linear layer; None for the spikes themselves.
        scale: what it is multiplied with, float64 ``[1]`` or ``[K]``; or ``[K, M]``, by which its M
            channels are mixed.
    """

    view: View
    layer: str | None
    scale: Tensor = ONE


@dataclass(frozen=True)
class Static:
    """A summand that is the same at every step, though another for each image.

    Attributes:
        name: of the value that is computed once.
        scale: as a `Term`'s.
    """

    name: str
    scale: Tensor


@dataclass(frozen=True)
class Current:
    """What enters a population at every step.

    Attributes:
        terms: what its sources' spikes add.
        bias: what is added besides, float64 ``[K]``, or ``[K, H, W]`` where it differs within a
            channel; the layers' own biases are among it.
        statics: what the image adds besides.
    """

    terms: tuple[Term, ...]
    bias: Tensor
    statics: tuple[Static, ...] = ()

    def __add__(self, other: Current) -> Current:
        bias, more = sorted((self.bias, other.bias), key=Tensor.dim)
        return Current(
            _merged(self.terms + other.terms),
            _along_channels(bias, more) + more,
            self.statics + other.statics,
        )

    def mixed(self, matrix: Tensor) -> Current:
        """Its channels, mixed by a matrix ``[K, M]``: what a layer of 1 x 1 makes of it."""

        def through(scale: Tensor) -> Tensor:
            return matrix @ scale if scale.dim() == 2 else matrix * scale

        return Current(
            tuple(replace(term, scale=through(term.scale)) for term in self.terms),
            torch.tensordot(matrix, self.bias, 1),
            tuple(replace(static, scale=through(static.scale)) for static in self.statics),
        )


def _merged(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The same sum, with one term for what is read in the same way: a stream of residual blocks
    meets its first layers once for every way through the others."""
    found: list[Term] = []
    for term in terms:
        for i, other in enumerate(found):
            if term.layer == other.layer and term.view.same_as(other.view):
                found[i] = replace(other, scale=_total(other.scale, term.scale))
                break
        else:
            found.append(term)
    return tuple(found)


def _total(first: Tensor, second: Tensor) -> Tensor:
    """The sum of two scales of a `Term`."""
    if first.dim() == second.dim():
        return first + second
    vector, matrix = sorted((first, second), key=Tensor.dim)
    return matrix + torch.diag(vector.expand(len(matrix)))


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
            Unsupported: it is not a sum of convolutions of spikes, of spikes, and of what is the
                same at every step.
        """
        image_shape(step.shape)
        return self._current(step.args[0], ONE, step.shape)

    def _current(self, value: Any, scale: Tensor, shape: tuple[int, ...]) -> Current:
        """`scale` times a value."""
        constant = self._views.constant(value, shape)
        if constant is not None:
            return _biased((), scale * constant, shape)
        static = self._views.static(value)
        if static is not None:
            if static != shape:
                raise Unsupported(
                    f"a value that is the same at every step is repeated to {list(shape)}"
                )
            return Current((), NONE.expand(shape[0]), (Static(value.name, scale),))
        step = self._views.step(value)
        if step.shape != shape:
            raise Unsupported(f"{step.label} is repeated to {list(shape)} where it enters")
        is_call = step.kind in ("function", "method")
        if is_call and step.target in SUMS and not {*step.kwargs} - {"alpha"}:
            first, second = step.args
            sign = SUMS[step.target] * step.kwargs.get("alpha", 1)
            return self._current(first, scale, shape) + self._current(second, scale * sign, shape)
        if (affine := self._views.affine(step)) is not None:
            inner, factor, shift = affine
            more = _biased((), scale * shift, shape)
            return self._current(inner, scale * factor, shape) + more
        layer = self._layers[step.name] if step.kind == "module" else None
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            return self._layer_current(layer, step, scale)
        views = self._views.of(value)
        if any(view.flat or any(view.padding) for view in views):
            raise Unsupported(f"{step.label} reshapes spikes that enter membranes directly")
        found = shifts(views, shape)
        bias = NONE if found is None else found.flatten(1)[:, 0] if found.dim() > 1 else found
        return _biased(tuple(Term(view, None, scale) for view in views), scale * bias, shape)

    def _layer_current(
        self, layer: nn.Conv1d | nn.Conv2d | nn.Linear, step: Step, scale: Tensor
    ) -> Current:
        """`scale` times what a layer makes of spikes, and of what is added to them."""
        if _is_pointwise(layer) and self._views.is_summed(step.args[0]):
            return self._mixed_current(layer, step, scale)
        views = self._views.of(step.args[0])
        for view in views:
            _check_readable(layer, view, step)
        given = self._views.step(step.args[0]).shape
        _check_one_row(layer, given, step)
        bias = NONE if layer.bias is None else layer.bias.detach().to("cpu", torch.float64)
        found = shifts(views, given)
        if found is not None:
            with torch.no_grad():
                whole = copy.deepcopy(layer).to("cpu", torch.float64)
                bias = whole(found.unsqueeze(0))[0]
            same = not any(any(view.padding) for view in views) and _pads_nothing(layer)
            bias = bias.flatten(1)[:, 0] if bias.dim() > 1 and same else bias
            bias = bias.view(image_shape(step.shape)) if bias.dim() > 1 else bias
        terms = tuple(Term(view, step.name, scale) for view in views)
        return _biased(terms, _along_channels(scale, bias) * bias, step.shape)

    def _mixed_current(
        self, layer: nn.Conv1d | nn.Conv2d | nn.Linear, step: Step, scale: Tensor
    ) -> Current:
        """`scale` times what a layer of 1 x 1 makes of other layers' outputs, as one layer."""
        given = self._views.step(step.args[0]).shape
        _check_one_row(layer, given, step)
        inner = self._current(step.args[0], ONE, given)
        weight = layer.weight.detach().to("cpu", torch.float64).flatten(1)
        bias = NONE if layer.bias is None else layer.bias.detach().to("cpu", torch.float64)
        return inner.mixed(weight * scale.unsqueeze(1)) + _biased((), scale * bias, step.shape)


def _biased(terms: tuple[Term, ...], bias: Tensor, shape: tuple[int, ...]) -> Current:
    return Current(terms, bias if bias.dim() > 1 else bias.expand(shape[0]))


def _along_channels(value: Tensor, other: Tensor) -> Tensor:
    """``[1]`` or ``[K]`` so that it broadcasts over another value's channels."""
    return value.view(-1, *[1] * (other.dim() - 1)) if value.dim() < other.dim() else value


def _check_one_row(layer: nn.Module, given: tuple[int, ...], step: Step) -> None:
    if isinstance(layer, nn.Linear) and len(given) != 1:
        raise Unsupported(f"{step.label} is a linear layer over one of several dimensions")


def _is_pointwise(layer: nn.Conv1d | nn.Conv2d | nn.Linear) -> bool:
    """Whether each of its neurons reads one pixel, and there are as many as pixels."""
    if isinstance(layer, nn.Linear):
        return True
    ones = (*layer.kernel_size, *layer.stride, layer.groups)
    return all(one == 1 for one in ones) and _pads_nothing(layer)


def _pads_nothing(layer: nn.Conv1d | nn.Conv2d | nn.Linear) -> bool:
    return isinstance(layer, nn.Linear) or not any(layer._reversed_padding_repeated_twice)


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
