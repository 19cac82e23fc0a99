"""When each call runs: before the neurons, with them, or after them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

from spikeconv.network.program import Phase

Call = TypeVar("Call", bound=Hashable)


def assign_phases(
    reads: Mapping[Call, Collection[Call]], neurons: Collection[Call], constants: Collection[Call]
) -> dict[Call, Phase]:
    """A phase per call.

    Args:
        reads: what each call reads, in the order in which they run.
        neurons: the calls that are neurons.
        constants: those that depend on no input.
    """
    after: set[Call] = set()
    for call, read in reads.items():
        if call in neurons or not after.isdisjoint(read):
            after.add(call)
    before: set[Call] = set()
    for call in reversed(list(reads)):
        if call in neurons or call in before:
            before.update(reads[call])

    def phase(call: Call) -> Phase:
        if call not in after:
            return Phase.CONSTANT if call in constants else Phase.STATIC
        return Phase.TEMPORAL if call in neurons or call in before else Phase.READOUT

    return {call: phase(call) for call in reads}
