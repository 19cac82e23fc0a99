"""A population before quantisation, from its current and its neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.fuse.channels import Unsupported, image_shape, per_channel, per_channel_or_neuron
from spikeconv.fuse.layer import Pair
from spikeconv.fuse.terms import Current, Term
from spikeconv.network.program import Step
from spikeconv.neuron import IFNode


@dataclass(frozen=True)
class FloatConvolution:
    """A convolution before quantisation: weights float64, what a spike is worth multiplied in."""

    source: str
    weight: Tensor
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


@dataclass(frozen=True)
class FloatShortcut:
    """A shortcut before quantisation: float64 ``[C]``, what a spike is worth."""

    source: str
    amplitude: Tensor
    stride: Pair
    channel: int


@dataclass(frozen=True)
class FloatLayer:
    """`IntegerLayer`'s attributes in float64; `static`: whether an image adds a current besides."""

    name: str
    shape: tuple[int, int, int]
    convolutions: Sequence[FloatConvolution]
    shortcuts: Sequence[FloatShortcut]
    theta: Tensor
    v_init: Tensor
    bias: Tensor
    signed: bool
    static: bool = False


# With more products than so many times those of the layers one by one, a product of weights is
# slower than floating point (bench/NOTES.md).
_MOST_TIMES = 16
# A stream of residual blocks is read by all of their neurons, each of which adds up all layers
# before; floating point computes each of those once.
_MOST_SUMMED = 24


def float_layer(
    step: Step,
    current: Current,
    layers: Mapping[str, nn.Module],
    neurons: Mapping[str, IFNode],
    shapes: Mapping[str, tuple[int, ...]],
) -> FloatLayer:
    """A population with all that enters it, what spikes are worth multiplied in.

    Args:
        step: the population's.
        current: what enters it.
        layers, neurons: the network's, by name.
        shapes: of one image's neurons, by name of the population.

    Raises:
        Unsupported: its neurons, or an amplitude, have no integer form.
    """
    node = neurons[step.name]
    if node.v_reset is not None:
        raise Unsupported("it is reset to a value and not by subtraction")
    if node.fires != "ge":
        raise Unsupported("it does not fire at its threshold, only above it")
    _check_worth(current.terms, layers, step.shape[0])
    convolutions, shortcuts = [], []
    for term in current.terms:
        view = term.view
        theta = neurons[view.population].v_threshold
        amplitude = per_channel(theta, shapes[view.population], "the threshold of what it reads")
        amplitude = amplitude * view.factor
        own = slice(view.channel, view.channel + len(amplitude))
        if term.layer is not None:
            layer = layers[term.layer]
            assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)
            convolutions.append(_float_convolution(term, layer, amplitude))
        elif term.scale.dim() == 2:
            weight = (term.scale[:, own] * amplitude).view(len(term.scale), -1, 1, 1)
            convolutions.append(
                FloatConvolution(view.source, weight, view.stride, (0, 0), (1, 1), 1)
            )
        else:
            scale = term.scale.expand(step.shape[0])[own]
            shortcuts.append(
                FloatShortcut(view.source, amplitude * scale, view.stride, view.channel)
            )
    return FloatLayer(
        name=step.name,
        shape=image_shape(step.shape),
        convolutions=convolutions,
        shortcuts=shortcuts,
        theta=per_channel(node.v_threshold, step.shape, "its threshold"),
        v_init=per_channel_or_neuron(node.v_init, step.shape),
        bias=_biases(node, step.shape, current.bias),
        signed=node.signed,
        static=bool(current.statics),
    )


def _float_convolution(
    term: Term, layer: nn.Conv1d | nn.Conv2d | nn.Linear, amplitude: Tensor
) -> FloatConvolution:
    """A layer's weights times what its spikes are worth."""
    view = term.view
    weight = layer.weight.detach().to("cpu", torch.float64)
    mixes = term.scale.dim() == 2
    if not mixes:
        weight = weight * term.scale.view(-1, *[1] * (weight.dim() - 1))
    own = slice(view.channel, view.channel + view.shape[0])
    left, _, above, _ = view.padding
    if isinstance(layer, nn.Linear):
        weight = weight.unflatten(1, (-1, *view.shape[1:]))[:, own] * amplitude.view(-1, 1, 1)
        weight = torch.tensordot(term.scale, weight, 1) if mixes else weight
        return FloatConvolution(view.source, weight, (1, 1), (0, 0), (1, 1), 1)
    groups = layer.groups
    # One row for a sequence: its missing vertical values are those that change nothing.
    kernel = weight.unsqueeze(2) if weight.dim() == 3 else weight
    kernel = kernel[:, own] if groups == 1 else kernel
    per_group = amplitude.view(groups, 1, -1, 1, 1)
    kernel = (kernel.view(groups, -1, *kernel.shape[1:]) * per_group).flatten(0, 1)
    if mixes:
        kernel, groups = torch.tensordot(term.scale, _ungrouped(kernel, groups), 1), 1
    around = layer._reversed_padding_repeated_twice  # left, right, above, below: also of "same"
    own_left, _, own_above, _ = (*around, 0, 0)[:4]
    sy, sx = (1, *layer.stride)[-2:]
    dy, dx = (1, *layer.dilation)[-2:]
    padding = above + own_above, left + own_left
    return FloatConvolution(view.source, kernel, (sy, sx), padding, (dy, dx), groups)


def _check_worth(terms: Sequence[Term], layers: Mapping[str, nn.Module], channels: int) -> None:
    """Raise Unsupported where a layer would take longer than in floating point.

    Args:
        terms: of its current.
        layers: the network's.
        channels: of the population.
    """
    names = {term.layer for term in terms if term.layer is not None}
    if len(names) > _MOST_SUMMED:
        raise Unsupported(f"it adds up {len(names)} layers, more than {_MOST_SUMMED}")
    mixed = [term for term in terms if term.scale.dim() == 2]
    matrices = {term.scale.shape: term.scale.numel() for term in mixed}
    apart = sum(_weight(layers[name]).numel() for name in names) + sum(matrices.values())
    together = sum(channels * _values_read(term, layers) for term in mixed)
    if together > _MOST_TIMES * apart:
        raise Unsupported(
            "layers without neurons between them would make one with "
            f"{together / apart:.0f} times as many products"
        )


def _values_read(term: Term, layers: Mapping[str, nn.Module]) -> int:
    """How many values a neuron reads that mixes all channels of a term."""
    if term.layer is None:
        return term.scale.shape[1]
    layer = layers[term.layer]
    groups: int = getattr(layer, "groups", 1)
    return _weight(layer)[0].numel() * groups


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)
    return layer.weight


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """The weights ``[K, C, kh, kw]`` of a convolution in groups, zeros between them."""
    blocks = weight.unflatten(0, (groups, -1)).unbind()
    whole = [F.pad(block, (0, 0, 0, 0, i * block.shape[1], 0)) for i, block in enumerate(blocks)]
    size = groups * weight.shape[1]
    return torch.cat([F.pad(w, (0, 0, 0, 0, 0, size - w.shape[1])) for w in whole])


def _biases(node: IFNode, shape: tuple[int, ...], layers: Tensor) -> Tensor:
    """All biases of a population, ``[S, K]`` or ``[S, K, H, W]``: those of steps, then the rest."""
    place = node.v_threshold.device
    constant = torch.zeros((), device=place) if node.bias is None else node.bias
    steps = () if node.step_bias is None else node.step_bias
    rows = [constant + row for row in steps] + [constant]
    parts = [per_channel_or_neuron(row, shape) for row in rows]
    if any(part.dim() > 1 for part in (*parts, layers)):
        full = image_shape(shape)
        parts = [p if p.dim() > 1 else p.view(-1, 1, 1).expand(full) for p in parts]
        layers = layers if layers.dim() > 1 else layers.view(-1, 1, 1)
    return torch.stack(parts) + layers
