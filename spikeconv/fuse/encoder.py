"""Populations in floating point that turn a static current into spikes for integer layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from spikeconv.fuse.channels import of_one_image
from spikeconv.fuse.layer import Pair
from spikeconv.fuse.windows import pair
from spikeconv.neuron import IFNode


@dataclass(frozen=True)
class Encoder:
    """The parameters of one population, as `if_multistep` takes them, for images.

    Attributes:
        name: of the population, a source of the program.
        v_threshold: float32 ``[C, H, W]`` or what broadcasts to it with three dimensions.
        v_init: likewise.
        bias: float32 ``[S, C, H, W]`` or what broadcasts to it: step t, from 0, takes row
            min(t, S - 1); None for no bias.
    """

    name: str
    v_threshold: Tensor
    v_init: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, name: str, node: IFNode, shape: tuple[int, ...]) -> Encoder:
        """The encoder of a population of that shape, ``[C, H, W]``, ``[C, L]`` or ``[C]``.

        Raises:
            ValueError: the population is reset to a value, or does not fire at its threshold.

        Example:
            >>> node = IFNode(torch.tensor([[[2.0]], [[3.0]]]), 1.0)
            >>> Encoder.of("relu", node, (2, 4, 4)).v_threshold.shape
            torch.Size([2, 1, 1])
        """
        if node.v_reset is not None or node.fires != "ge":
            raise ValueError(
                f"Encoder: node must be reset by subtraction and fire at its threshold, got {node}"
            )
        return cls(
            name,
            _as_image(node.v_threshold, shape),
            _as_image(node.v_init, shape),
            _bias_rows(node, shape),
        )

    def bias_from(self, start: int, T: int) -> Tensor | None:
        """The biases ``[T, 1, ...]`` of T steps of a batch, the first of them step `start`."""
        if self.bias is None:
            return None
        steps = torch.arange(start, start + T, device=self.bias.device)
        return self.bias[steps.clamp(max=len(self.bias) - 1)].unsqueeze(1)


@dataclass(frozen=True)
class Unpooled:
    """A static current that still lacks a bias and a max-pool: max over a window of x, + offset.

    Of a finite offset that is the pool of x + offset, bit for bit: rounding turns no two numbers
    around.

    Attributes:
        x: ``[B, C, h, w]``.
        offset: ``[C]``, or None for zeros.
        pool: None for windows of one pixel.
        shape: of the current, ``(C, H, W)``.
    """

    x: Tensor
    offset: Tensor | None
    pool: nn.MaxPool2d | None
    shape: tuple[int, int, int]

    @cached_property
    def current(self) -> Tensor:
        """What it stands for, float32 ``[B, C, H, W]``."""
        x = self.x if self.pool is None else self.pool(self.x)
        if self.offset is not None:
            x = x + self.offset.to(x.dtype).view(-1, 1, 1)
        return x.to(torch.float32)

    def window(self) -> tuple[Pair, Pair, Pair, Pair]:
        """The max-pool's kernel, stride, padding and dilation.

        >>> Unpooled(torch.zeros(1, 2, 8, 8), None, nn.MaxPool2d(3, 2, 1), (2, 4, 4)).window()
        ((3, 3), (2, 2), (1, 1), (1, 1))
        """
        pool = self.pool or nn.MaxPool2d(1)
        return (
            pair(pool.kernel_size, 2, 1),
            pair(pool.stride or pool.kernel_size, 2, 1),
            pair(pool.padding, 2, 0),
            pair(pool.dilation, 2, 1),
        )


def current_of(given: Tensor | Unpooled) -> Tensor:
    """A static current, with what it still lacks."""
    return given.current if isinstance(given, Unpooled) else given


def _as_image(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A parameter with the three dimensions of an image, not expanded."""
    value = of_one_image(value.detach(), shape).to(torch.float32)
    value = value.view(*[1] * (len(shape) - value.dim()), *value.shape)
    if len(shape) == 3:
        return value
    return value.unsqueeze(1) if len(shape) == 2 else value.view(-1, 1, 1)


def _bias_rows(node: IFNode, shape: tuple[int, ...]) -> Tensor | None:
    """Bias and step bias as IFNode adds them up, then the bias alone."""
    if node.step_bias is None:
        return None if node.bias is None else _as_image(node.bias, shape).unsqueeze(0)
    # -0 changes no sum, not even that of -0.
    nothing = torch.tensor(-0.0, device=node.step_bias.device)
    constant = nothing if node.bias is None else node.bias
    rows = [row.to(torch.float32) + constant for row in node.step_bias]
    rows.append(constant.to(torch.float32).expand_as(rows[0]) if rows else constant)
    return torch.stack([_as_image(row, shape) for row in rows])
