"""Parts of values, zeros around them, and values side by side: matrices of zeros and ones.

NIR has no node for any of them, but all are convolutions, which it has.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeconv.network.program import Step, refs
from spikeconv.nir_io.graph import Graph, Inexpressible, Shape, Value, argument, first
from spikeconv.nir_io.library import as_array


def _several(values: Any) -> tuple[Any, ...]:
    """One or several arguments as several."""
    return tuple(values) if isinstance(values, list | tuple) else (values,)


def part(graph: Graph, step: Step) -> Value:
    """A part of a value: some channels, and every so manyth row and column of all."""
    x = first(graph, step)
    index = _several(step.args[1])
    if not all(map(_is_slice, index)) or index[0] != slice(None) or len(index) > len(x.shape) + 1:
        raise Inexpressible("NIR takes parts by slices of channels, rows and columns only")
    slices = [*index[1:], *[slice(None)] * (len(x.shape) + 1 - len(index))]
    strides = []
    for one, size in zip(slices[1:], x.shape[1:], strict=True):
        start, stop, every = one.indices(size)
        if start != 0 or stop != size:
            raise Inexpressible("NIR cuts no rows and columns off")
        strides.append(every)
    matrix = torch.eye(x.shape[0])[slices[0]]
    return _selected(graph, step.name, x, step.shape, matrix, strides=tuple(strides))


def _is_slice(index: Any) -> bool:
    """Whether an index is a slice between numbers."""
    return isinstance(index, slice) and not any(True for _ in refs(index))


def padded_layer(graph: Graph, step: Step, layer: Any) -> Value:
    """Zeros around a value by a layer."""
    return _padded(graph, step, layer.padding, layer.value)


def padded_call(graph: Graph, step: Step) -> Value:
    """Zeros around a value by a function."""
    mode, value = argument(step, 2, "mode", "constant"), argument(step, 3, "value")
    if mode != "constant":
        raise Inexpressible(f"NIR pads with zeros only, not mode={mode!r}")
    return _padded(graph, step, argument(step, 1, "pad"), value)


def _padded(graph: Graph, step: Step, pad: Any, value: float | None) -> Value:
    """Zeros around a value: around channels by a matrix, around rows by a convolution of one 1."""
    x = first(graph, step)
    if value or not all(isinstance(size, int) and size >= 0 for size in pad):
        raise Inexpressible("NIR pads with zeros only, and cuts nothing off")
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][::-1]  # the last dimension first
    pairs = [(0, 0)] * (len(x.shape) - len(pairs)) + pairs
    before, after = pairs[0]
    matrix = F.pad(torch.eye(x.shape[0]), (0, 0, before, after))
    return _selected(graph, step.name, x, step.shape, matrix, sides=tuple(pairs[1:]))


def joined(graph: Graph, step: Step) -> Value:
    """Values side by side along channels: the sum of each among the channels of all."""
    dim, rank = argument(step, 1, "dim", 0), len(step.shape) + 1
    values = [graph.read(one) for one in _several(argument(step, 0, "tensors"))]
    if dim % rank != 1:
        raise Inexpressible("NIR joins values along their channels only")
    place, sources, problems = 0, list[str](), list[str]()
    for number, x in enumerate(values):
        after = step.shape[0] - place - x.shape[0]
        matrix = F.pad(torch.eye(x.shape[0]), (0, 0, place, after))
        shape = (step.shape[0], *x.shape[1:])
        placed = _selected(graph, f"{step.name}_{number}", x, shape, matrix)
        sources += placed.sources
        problems += placed.problems
        place += x.shape[0]
    return Value(tuple(sources), step.shape, tuple(dict.fromkeys(problems)))


def _selected(
    graph: Graph,
    name: str,
    x: Value,
    shape: Shape,
    matrix: Tensor,
    strides: Shape = (),
    sides: tuple[tuple[int, int], ...] = (),
) -> Value:
    """Channels taken by a matrix of zeros and ones, between zeros or with some pixels left out."""
    inner = len(x.shape) - 1
    if inner == 0:
        node = graph.nir.Affine(weight=as_array(matrix), bias=as_array(torch.zeros(len(matrix))))
        return graph.add(name, node, x, shape)
    if inner > 2:
        raise Inexpressible(f"NIR has no convolution of values {list(x.shape)}")
    strides, sides = strides or (1,) * inner, sides or ((0, 0),) * inner
    # Of unequal sides: more zeros on the shorter one, and a kernel that leaves them out again.
    kernel = torch.zeros(tuple(1 + abs(a - b) for a, b in sides))
    kernel[tuple(max(0, b - a) for a, b in sides)] = 1
    padding = tuple(max(pair) for pair in sides)
    arrays = {
        "weight": as_array(matrix.view(*matrix.shape, *[1] * inner) * kernel),
        "bias": as_array(torch.zeros(len(matrix))),
    }
    if inner == 2:
        node = graph.nir.Conv2d(
            x.shape[1:], stride=strides, padding=padding, dilation=(1, 1), groups=1, **arrays
        )
    else:
        node = graph.nir.Conv1d(
            x.shape[1], stride=strides[0], padding=padding[0], dilation=1, groups=1, **arrays
        )
    return graph.add(name, node, x, shape)
