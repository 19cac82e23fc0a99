"""Layers in floating point of one neuron a channel, for tests of their units."""

from __future__ import annotations

from dataclasses import replace

import torch

from spikeconv.fuse.float_layer import FloatConvolution, FloatLayer, FloatShortcut

INT32_MAX = 2**31 - 1

LARGEST = {"x": 1, "s": 1}
"""Spikes of a step that `layer` reads from its sources."""


def layer(
    channels: int = 3, inputs: int = 4, *, seed: int = 0, signed: bool = False, theta: float = 1.0
) -> FloatLayer:
    """One neuron a channel, a random convolution of 1 x 1 and a shortcut."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    entering = min(channels, inputs)
    return FloatLayer(
        name="y",
        shape=(channels, 1, 1),
        convolutions=[convolution_of(draw(channels, inputs, 1, 1))],
        shortcuts=[FloatShortcut("s", draw(entering), (1, 1), 0)],
        theta=draw(channels).abs() * theta + 1e-3,
        v_init=draw(channels),
        bias=draw(1, channels),
        signed=signed,
    )


def convolution_of(weight: torch.Tensor) -> FloatConvolution:
    return FloatConvolution("x", weight, (1, 1), (0, 0), (1, 1), 1)


def of_weights(*weights: list[float]) -> FloatLayer:
    """One neuron with a threshold of 1, and a convolution of 1 x 1 for each list."""
    one = torch.ones(1, dtype=torch.float64)
    found = [convolution_of(torch.tensor(each).double().view(1, -1, 1, 1)) for each in weights]
    return FloatLayer("y", (1, 1, 1), found, (), one, one / 2, 0 * one[None], False)


def of_bytes(seed: int) -> FloatLayer:
    """A layer whose weights were rounded to 8 bits, and then stored and scaled in float32."""
    generator = torch.Generator().manual_seed(seed)
    bytes_ = torch.randint(-127, 128, (3, 40, 1, 1), generator=generator)
    bytes_[:, 0] = torch.tensor([127, -127, 127]).view(3, 1, 1)
    scale = torch.rand(3, 1, 1, 1, generator=generator) + 0.1
    weight = (bytes_ * scale * 0.37).double()
    return replace(layer(seed=seed), convolutions=[convolution_of(weight)])
