"""Layers with weights as nodes of NIR."""

from __future__ import annotations

from typing import Any

from torch import nn

from spikeconv.network.program import Step
from spikeconv.nir_io.graph import Graph, Inexpressible, Value, first
from spikeconv.nir_io.library import as_array


def _weights(layer: Any) -> dict[str, Any]:
    """Weight and bias of a layer as arrays; NIR's convolutions have a bias always."""
    bias = layer.bias if layer.bias is not None else layer.weight.new_zeros(len(layer.weight))
    return {"weight": as_array(layer.weight), "bias": as_array(bias)}


def _holding(graph: Graph, step: Step, layer: Any, value: Value) -> Value:
    """The value, once it is noted that its node holds the layer's weights."""
    for name in ("weight", "bias"):
        if getattr(layer, name) is not None:
            graph.held[step.target, name] = (value.sources[0], name)
    return value


def _padding(layer: nn.Conv1d | nn.Conv2d) -> tuple[int, ...]:
    """Zeros on either side; of a padding by name nir takes wrong sizes in one dimension."""
    if not isinstance(layer.padding, str):
        return tuple(layer.padding)
    if layer.padding == "valid":
        return (0,) * len(layer.kernel_size)
    missing = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    if any(size % 2 for size in missing):
        raise Inexpressible("NIR pads both sides alike, not as padding='same' of an even kernel")
    return tuple(size // 2 for size in missing)


def convolution(graph: Graph, step: Step, layer: nn.Conv1d | nn.Conv2d) -> Value:
    """A convolution in one dimension or two."""
    x = first(graph, step)
    if layer.padding_mode != "zeros":
        raise Inexpressible(f"NIR pads with zeros only, not padding_mode={layer.padding_mode!r}")
    sizes: dict[str, Any] = {
        "stride": layer.stride,
        "padding": _padding(layer),
        "dilation": layer.dilation,
    }
    kind: Any = graph.nir.Conv2d
    image: Any = x.shape[1:]
    if isinstance(layer, nn.Conv1d):
        sizes = {name: size[0] for name, size in sizes.items()}
        kind, image = graph.nir.Conv1d, x.shape[1]
    node = kind(input_shape=image, groups=layer.groups, **sizes, **_weights(layer))
    return _holding(graph, step, layer, graph.add(step.name, node, x, step.shape))


def linear(graph: Graph, step: Step, layer: nn.Linear) -> Value:
    """A linear layer of a vector."""
    x = first(graph, step)
    if len(x.shape) != 1:
        raise Inexpressible(f"NIR has linear layers of vectors, not of values {list(x.shape)}")
    node = graph.nir.Affine(**_weights(layer))
    return _holding(graph, step, layer, graph.add(step.name, node, x, step.shape))


def batch_norm(graph: Graph, step: Step, layer: Any) -> Value:
    """Batch norm that no layer took up: a convolution of one pixel, or a diagonal matrix."""
    x = first(graph, step)
    wide = layer.running_var.double()
    factor = (wide + layer.eps).rsqrt()
    if layer.weight is not None:
        factor = factor * layer.weight.double()
    offset = -layer.running_mean.double() * factor
    if layer.bias is not None:
        offset = offset + layer.bias.double()
    factor, offset = factor.to(layer.running_var), offset.to(layer.running_var)
    if len(x.shape) == 1:
        node = graph.nir.Affine(weight=as_array(factor.diag()), bias=as_array(offset))
    elif len(x.shape) == 3:
        node = graph.nir.Conv2d(
            input_shape=x.shape[1:],
            weight=as_array(factor.view(-1, 1, 1, 1)),
            bias=as_array(offset),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=x.shape[0],
        )
    else:
        raise Inexpressible(f"NIR has no batch norm of values {list(x.shape)}")
    return graph.add(step.name, node, x, step.shape)
