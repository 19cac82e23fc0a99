"""Channels of a population: its shape as an image, and what is the same throughout a channel."""

from __future__ import annotations

import torch
from torch import Tensor


class Unsupported(Exception):
    """What has no form in integers, in words that follow the name of the layer."""


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A population's shape as channels, rows and columns; ``[C]`` and ``[C, L]`` have one row."""
    if not 1 <= len(shape) <= 3:
        raise Unsupported(f"neurons of shape {list(shape)} are not channels of an image")
    channels, *size = shape
    height, width = (1, 1, *size)[-2:]
    return channels, height, width


def of_one_image(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A parameter of neurons of that shape, without the dimension of the batch where that is 1."""
    while value.dim() > len(shape) and value.shape[0] == 1:
        value = value[0]
    return value


def per_channel(value: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    """A parameter as float64 ``[K]`` on the CPU.

    Raises:
        Unsupported: it differs within a channel.
    """
    rows = _expanded(value, shape).reshape(shape[0], -1)
    if not bool((rows == rows[:, :1]).all()):
        raise Unsupported(f"{what} differs from neuron to neuron")
    return rows[:, 0].clone()


def per_channel_or_neuron(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A parameter as float64 ``[K]``, or ``[K, H, W]`` where it differs within a channel."""
    try:
        return per_channel(value, shape, "")
    except Unsupported:
        return _expanded(value, shape).reshape(image_shape(shape)).clone()


def _expanded(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    return of_one_image(value.detach(), shape).to("cpu", torch.float64).expand(shape)
