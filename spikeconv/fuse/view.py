"""A population's spikes as a layer sees them, and what padding and slices make of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.fuse.channels import Unsupported, image_shape
from spikeconv.fuse.layer import Pair
from spikeconv.network.program import Step

ONE = torch.ones(1, dtype=torch.float64, device="cpu")
NONE = torch.zeros(1, dtype=torch.float64, device="cpu")


@dataclass(frozen=True)
class View:
    """Spikes of a source as a layer sees them.

    Attributes:
        source: name of the population or pool.
        population: whose spikes they are.
        shape: ``(C, H, W)`` of the source.
        factor: what one spike of amplitude theta is multiplied with, float64 ``[1]`` or ``[C]``: of
            a pool, 1 / its window.
        shift: what is added to each of its values, float64 ``[1]`` or ``[C]``.
        padding: zeros around it (left, right, above, below).
        stride: every so many rows and columns are seen.
        channel: channels before its own, of zeros or of other views.
        flat: it is seen as ``[C * H * W]``.
    """

    source: str
    population: str
    shape: tuple[int, int, int]
    factor: Tensor = ONE
    shift: Tensor = NONE
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    stride: Pair = (1, 1)
    channel: int = 0
    flat: bool = False

    @property
    def plain(self) -> bool:
        """Whether the layer sees the source as it is, but for zeros around it."""
        return self.whole and self.channel == 0

    def same_as(self, other: View) -> bool:
        """Whether both see the same in the same way."""
        sees = (
            (v.source, v.population, v.shape, v.padding, v.stride, v.channel, v.flat)
            for v in (self, other)
        )
        tensors = (self.factor, other.factor), (self.shift, other.shift)
        return next(sees) == next(sees) and all(torch.equal(a, b) for a, b in tensors)

    @property
    def whole(self) -> bool:
        """Whether the layer sees every pixel of the source."""
        return self.stride == (1, 1)


def transformed(
    views: Sequence[View], factor: Tensor, shift: Tensor, step: Step
) -> tuple[View, ...]:
    """Views of `factor` times a value plus `shift`, each ``[1]`` or ``[C]`` of all its channels."""
    if max(len(factor), len(shift)) > 1 and any(view.flat for view in views):
        raise Unsupported(f"{step.label} weighs values that were reshaped")
    if bool(shift.any()):
        seen = sum(view.shape[0] if not view.flat else math.prod(view.shape) for view in views)
        if seen != step.shape[0] or any(any(view.padding) for view in views):
            raise Unsupported(f"{step.label} adds to zeros beside the spikes")

    def own(values: Tensor, view: View) -> Tensor:
        return values if len(values) == 1 else values[view.channel :][: view.shape[0]]

    return tuple(
        replace(
            view,
            factor=view.factor * own(factor, view),
            shift=view.shift * own(factor, view) + own(shift, view),
        )
        for view in views
    )


def shifts(views: Sequence[View], shape: tuple[int, ...]) -> Tensor | None:
    """What is added to a value of that shape that views make up, float64; None where nothing is."""
    if not any(bool(view.shift.any()) for view in views):
        return None
    plane = torch.zeros(shape, dtype=torch.float64, device="cpu")
    for view in views:
        channels, height, width = view.shape
        image = plane.view((-1, height, width) if view.flat else image_shape(shape))
        left, _, above, _ = view.padding
        own = image[view.channel :, above:, left:][:channels, :height, :width]
        own += view.shift.view(-1, 1, 1)
    return plane


def flattened(view: View, step: Step) -> View:
    if len(step.shape) != 1 or not view.whole or any(view.padding):
        raise Unsupported(f"{step.label} reshapes the spikes")
    return replace(view, flat=True)


def zero_padding(step: Step, layer: nn.Module | None) -> tuple[int, ...] | None:
    """What a step pads with zeros, as `torch.nn.functional.pad` takes it; None: it does not."""
    if isinstance(layer, nn.ZeroPad1d | nn.ZeroPad2d):
        return tuple(layer.padding)
    if step.target is not F.pad or len(step.args) < 2:
        return None
    mode = step.args[2] if len(step.args) > 2 else step.kwargs.get("mode", "constant")
    value = step.args[3] if len(step.args) > 3 else step.kwargs.get("value")
    return tuple(step.args[1]) if mode == "constant" and not value else None


def padded(view: View, padding: tuple[int, ...], step: Step) -> View:
    """A view with zeros around it; zeros before its channels are a shortcut's (option A)."""
    left, right, above, below, front, back = (*padding, *[0] * (6 - len(padding)))
    if len(padding) > 6 or min(padding) < 0 or view.flat:
        raise Unsupported(f"{step.label} cuts or reshapes the spikes")
    if len(step.shape) < 3 and any((above, below, front, back)):
        raise Unsupported(f"{step.label} pads more than the positions of a sequence")
    around = left, right, above, below
    if any(around) and any((front, back)):
        raise Unsupported(f"{step.label} pads positions and channels at once")
    if any(around) and not view.whole:
        raise Unsupported(f"{step.label} pads a part of the spikes")
    before = view.padding
    both = before[0] + left, before[1] + right, before[2] + above, before[3] + below
    return replace(view, padding=both, channel=view.channel + front)


def subsampled(view: View, step: Step) -> View:
    """Every so many rows and columns."""
    index = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
    everything = slice(None)
    if (around := [i for i, part in enumerate(index) if part is Ellipsis]) and len(around) == 1:
        left, right = index[: around[0]], index[around[0] + 1 :]
        missing = len(step.shape) + 1 - len(left) - len(right)
        index = (*left, *[everything] * missing, *right)
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
