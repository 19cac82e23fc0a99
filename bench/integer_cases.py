"""Integer layers of known networks, with random weights, for `integer.py`.

Speed does not depend on the weights: nobody branches on a spike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeconv.fuse.encoder import Encoder
from spikeconv.fuse.engine import IntegerProgram, Source
from spikeconv.fuse.layer import WEIGHTS, Convolution, IntegerLayer, Shortcut, bytes_of

HALO = (1, 1, 1, 1)


@dataclass(frozen=True)
class Shape:
    """A 3 x 3 convolution with an identity shortcut: channels in and out, output size, stride."""

    network: str
    inputs: int
    outputs: int
    size: int
    stride: int = 1

    @property
    def name(self) -> str:
        """Channels, and the size of the output."""
        arrow = f"{self.inputs} -> {self.outputs}"
        return f"{arrow}, {self.size} x {self.size}" + (", stride 2" if self.stride == 2 else "")


SHAPES = (
    Shape("resnet20", 16, 16, 32),
    Shape("resnet20", 16, 32, 16, 2),
    Shape("resnet20", 32, 32, 16),
    Shape("resnet20", 32, 64, 8, 2),
    Shape("resnet20", 64, 64, 8),
    Shape("resnet18", 64, 64, 32),
    Shape("resnet18", 64, 128, 16, 2),
    Shape("resnet18", 128, 128, 16),
    Shape("resnet18", 256, 256, 8),
    Shape("resnet18", 512, 512, 4),
)

NETWORKS = {"resnet20": ((16, 32, 64), 3), "resnet18": ((64, 128, 256, 512), 2)}
"""Widths of the stages, and blocks of each."""


class Builder:
    """Layers with random weights of one precision, whose neurons fire at one step in eight."""

    def __init__(self, precision: str) -> None:
        self.weights = WEIGHTS[precision]
        self.random = torch.Generator().manual_seed(0)
        self.sources: dict[str, Source] = {}
        self.layers: dict[str, IntegerLayer] = {}
        self.products = 0

    def source(self, name: str, channels: int, size: int) -> None:
        """A population of ``channels x size x size`` neurons."""
        self.sources[name] = Source(name, (channels, size, size), 1, False, HALO)

    def convolution(self, source: str, outputs: int, kernel: int, stride: int) -> Convolution:
        """Weights over a source."""
        shape = (outputs, self.sources[source].shape[0], kernel, kernel)
        weight = torch.randint(
            -self.weights.largest,
            self.weights.largest + 1,
            shape,
            generator=self.random,
            dtype=self.weights.dtype,
        )
        return Convolution(source, weight, (stride, stride), (kernel // 2, kernel // 2))

    def layer(
        self, name: str, convolutions: list[Convolution], shortcut: str | None, size: int
    ) -> None:
        """A population under convolutions, and the spikes of another one of its shape."""
        outputs = convolutions[0].weight.shape[0]
        read = sum(c.weight[0].numel() for c in convolutions)
        deviation = 0.6 * self.weights.largest * read**0.5
        theta = torch.full((outputs,), int(deviation), dtype=torch.int32)
        shortcuts = (Shortcut(shortcut, theta // 2),) if shortcut is not None else ()
        self.layers[name] = IntegerLayer(
            name,
            (outputs, size, size),
            tuple(convolutions),
            shortcuts,
            0,
            theta,
            theta // 2,
            (theta // 16).unsqueeze(0),
            False,
            torch.ones(outputs, dtype=torch.float64),
            2**20,
        )
        self.source(name, outputs, size)
        weights = sum(len(bytes_of(c.weight)) * c.weight.numel() for c in convolutions)
        self.products += weights * size * size

    def program(self) -> IntegerProgram:
        """Everything so far."""
        return IntegerProgram(self.layers, {}, self.sources)


def one_layer(shape: Shape, precision: str) -> Builder:
    """The layer "out" over the sources "in" and "same"."""
    builder = Builder(precision)
    builder.source("in", shape.inputs, shape.size * shape.stride)
    builder.source("same", shape.outputs, shape.size)
    convolution = builder.convolution("in", shape.outputs, 3, shape.stride)
    builder.layer("out", [convolution], "same", shape.size)
    return builder


def residual_network(name: str, precision: str) -> tuple[Builder, Encoder, list[str]]:
    """A CIFAR residual network between stem and head: its encoder "stem" and all names in order."""
    widths, blocks = NETWORKS[name]
    builder = Builder(precision)
    size, last = 32, "stem"
    builder.source("stem", widths[0], size)
    names = ["stem"]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            size //= stride
            first, second = f"{stage}.{block}.first", f"{stage}.{block}.second"
            builder.layer(first, [builder.convolution(last, width, 3, stride)], None, size)
            convolutions = [builder.convolution(first, width, 3, 1)]
            shortcut: str | None = last
            if stride == 2:
                convolutions.append(builder.convolution(last, width, 1, stride))
                shortcut = None
            builder.layer(second, convolutions, shortcut, size)
            names += [first, second]
            last = second
    return builder, Encoder("stem", torch.ones(1, 1, 1), torch.full((1, 1, 1), 0.5), None), names


def spikes(source: Source, T: int, B: int, rate: float) -> Tensor:
    """A train in which that share of the neurons fires at each step."""
    random = torch.Generator().manual_seed(1)
    return (torch.rand(T, B, *source.shape, generator=random) < rate).to(torch.int8)
