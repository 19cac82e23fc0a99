"""Two images to trace a network with, and to hold its program against it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, batch_of, images_of, tensors_of
from spikeconv.passes.frozen import twin
from spikeconv.passes.tracer import call


def example_for(network: nn.Module, names: Sequence[str], batch: Batch) -> Batch:
    """Two images to trace with: the first of a batch, and noise or, where it takes none, a second.

    A network may check what it is given. What fails on noise and on images, the trace reports.
    """
    for example in (two_images(batch[:1]), batch[:2]):
        images = dict(zip(names, copies(example), strict=True))
        with contextlib.suppress(Exception), torch.random.fork_rng(devices_of(example)):
            call(twin(network), type(network).forward, images)
            if images_of(example) == 2:
                return example
    return two_images(batch[:1])


def devices_of(batch: Batch) -> list[torch.device]:
    """The GPU that it is on, whose generator of random numbers a network may use."""
    device = tensors_of(batch)[0].device
    return [device] if device.type == "cuda" else []


def two_images(image: Batch) -> Batch:
    """A batch of an image `[1, *]` and of noise of its size, always the same.

    What is not floating-point may be an index, so its second image has the values of the first.
    """
    return batch_of(map(_two, tensors_of(image)))


def _two(image: Tensor) -> Tensor:
    if not image.is_floating_point():
        return torch.cat([image, image.flatten().flip(0).view_as(image)])
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(image.shape, generator=generator, device="cpu").to(image)
    return torch.cat([image, noise * (image.abs().max().item() or 1.0)])


def copies(batch: Batch) -> tuple[Tensor, ...]:
    """Copies of a batch's tensors, for what may write into them."""
    return tuple(tensor.clone() for tensor in tensors_of(batch))
