"""Whether a program, run as an ANN, still computes what the network computes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch
from spikeconv.convert.analog import run_analog
from spikeconv.convert.errors import ConversionError, Problem
from spikeconv.convert.examine import copies, is_close
from spikeconv.convert.program import Program
from spikeconv.convert.run_step import Layers
from spikeconv.convert.structure import tensors
from spikeconv.convert.tracer import call, check_output

_OTHER = (
    "its analog form gives other outputs than the network; something in it is not what it looks "
    "like, such as a layer that was changed from outside"
)
_CALLS = (
    "two calls on the same images give different outputs, and a spiking network keeps nothing from "
    "one call to the next; where self.training is False, leave out what draws random numbers, or "
    "changes a buffer or an attribute that the next call reads"
)
_ONE = (
    "a single image goes another way through its forward than several, and comes out different; "
    "let the number of images decide nothing"
)


def check_same(
    network: nn.Module,
    program: Program,
    layers: Layers,
    weights: Mapping[str, Tensor],
    images: Batch,
) -> None:
    """Make sure that tracing and normalising have not changed what the network computes.

    Raises:
        ConversionError: they have, on these one or two images.
    """
    names = [item.argument for item in program.inputs]
    first, second = (
        call(network, type(network).forward, dict(zip(names, copies(images), strict=True)))
        for _ in range(2)
    )
    check_output(first)
    if not _are_close(first, second):
        raise ConversionError([Problem("", "forward", "", _CALLS)])
    if not _are_close(first, run_analog(program, layers, weights, images)):
        reason = _ONE if len(images) == 1 else _OTHER
        raise ConversionError([Problem("", "forward", "", reason)])


def _are_close(a: Any, b: Any) -> bool:
    """Whether two outputs hold tensors of the same shapes, and of nearly the same values."""
    pairs = list(itertools.zip_longest(tensors(a), tensors(b)))
    return all(
        x is not None and y is not None and x.shape == y.shape and is_close(x, y, root=3)
        for x, y in pairs
    )
