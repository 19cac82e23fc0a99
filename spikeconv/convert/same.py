"""Whether a program, run as an ANN, still computes what the network computes."""

from __future__ import annotations

from collections.abc import Mapping

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
    inputs = dict(zip(names, copies(images), strict=True))
    output = call(network, type(network).forward, inputs)
    check_output(output)
    before = list(tensors(output))
    after = list(tensors(run_analog(program, layers, weights, images)))
    same = len(before) == len(after) and all(
        a.shape == b.shape and is_close(a, b, root=4) for a, b in zip(before, after, strict=True)
    )
    if not same:
        reason = _ONE if len(images) == 1 else _OTHER
        raise ConversionError([Problem("", "forward", "", reason)])
