"""All passes, one after the other: a network, and the program that computes the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from spikeconv.calibrate.inputs import Batch
from spikeconv.network.program import Program
from spikeconv.passes.checks import warn_of_checks
from spikeconv.passes.examine import examine
from spikeconv.passes.example import devices_of
from spikeconv.passes.lower import lower
from spikeconv.passes.normalise import normalise
from spikeconv.passes.operands import unify_operands
from spikeconv.passes.same import Comparison
from spikeconv.passes.sizes import Reads
from spikeconv.passes.trace import trace
from spikeconv.passes.understand import Analog, understand


def program_of(
    frozen_ann: nn.Module, names: Sequence[str], example: Batch, analog: Analog = False
) -> tuple[Program, dict[str, nn.Module], dict[str, Tensor]]:
    """The program that a frozen network is, its layers and its constants, by name.

    Args:
        frozen_ann: as `spikeconv.passes.frozen` leaves it.
        names: of the inputs that forward is called with.
        example: two images.
        analog: what is to stay as it is where it has no spiking form, as in `spikeconv.convert`.

    Raises:
        ConversionError: something in the network has no spiking form; names all that have none.
    """
    with torch.random.fork_rng(
        devices_of(example)
    ):  # a network that draws is refused, and has drawn by then
        traced = trace(frozen_ann, names, example)
        unify_operands(traced)
        problems = examine(traced, example)
        looks_up = any(map(_is_index, traced.graph.nodes))
        normalise(traced)
        understand(traced, problems, analog)
        lowered = lower(traced)
        comparison = Comparison(frozen_ann, *lowered, traced.meta["resolution"])
        comparison.check(example)
        comparison.check_for(traced.meta.get("other_counts", ()), example)
        if not (looks_up and devices_of(example)):  # an index out of range ends a GPU's process
            comparison.check_unlike(example)
    warn_of_checks(traced.meta.get("checks", ()))
    return lowered


def _is_index(node: fx.Node) -> bool:
    """Whether a value that images decide may be an index: an integer, and no mask."""
    dtype = node.meta.get("dtype")
    if node.meta.get("constant") or dtype is None or dtype == torch.bool:
        return False
    return not dtype.is_floating_point and node.meta["reads"] is Reads.VALUES
