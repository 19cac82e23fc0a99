"""Convolutions before the first neurons, which a GPU computes on images in channels-last order."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import nn

from spikeconv.network.program import Phase, Program, refs

DEVICES = ("cuda",)
"""Types of device on which channels-last is the order that convolutions are made for."""

# What keeps the order that it is given, and gives the same numbers in either, up to the order in
# which a convolution is summed.
_KEEP = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.Identity)


def find_stems(
    program: Program, layers: Mapping[str, nn.Module], encoders: Collection[str]
) -> frozenset[str]:
    """Names of the static convolutions in chains that end in encoders.

    Nobody else reads what is between: a ``view`` for one takes no channels-last tensor.

    Args:
        program: the steps in order.
        layers: modules by name.
        encoders: populations that an engine runs in floating point.
    """
    readers: dict[str, set[str]] = {ref.name: {""} for ref in refs(program.output)}
    for step in program.steps:
        for ref in refs((step.args, step.kwargs)):
            readers.setdefault(ref.name, set()).add(step.name)
    inside = set(encoders)
    stems = set()
    for step in reversed(list(program.phase(Phase.STATIC))):
        module = layers[step.target] if step.kind in ("module", "max_pool") else None
        keeps = type(module) in _KEEP and len(step.shape) == 3
        if keeps and readers.get(step.name, {""}) <= inside:
            inside.add(step.name)
            if isinstance(module, nn.Conv2d):
                stems.add(step.name)
    return frozenset(stems)
