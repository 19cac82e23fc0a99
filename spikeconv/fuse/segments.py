"""Parts of a network that run in integers from end to end, so that an engine takes each at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spikeconv.fuse.encoder import Encoder
from spikeconv.fuse.engine import IntegerProgram
from spikeconv.network.program import Phase, Program


@dataclass(frozen=True)
class Segment:
    """Encoders, layers and pools that need nothing that is computed between them.

    Attributes:
        steps: their names, in order.
        given: sources that come from before: steps that an earlier segment kept, and populations
            in floating point.
        kept: of its steps, those whose spikes later segments read.
        dropped: of `given`, those that no later segment reads, so that nobody needs their spikes
            any more.
    """

    steps: tuple[str, ...]
    given: frozenset[str]
    kept: frozenset[str]
    dropped: frozenset[str]


def find_segments(
    program: Program, integers: IntegerProgram, encoders: Mapping[str, Encoder]
) -> tuple[Segment, ...]:
    """The segments of a program in order, each as long as it can be.

    Other populations that integer layers read run as they do without integers, and an engine packs
    their spikes afterwards; a segment ends before each of them.

    Args:
        program: the steps in order.
        integers: the layers and pools that are in integers.
        encoders: the populations that an engine runs in floating point, by name.
    """
    inside = {*integers.layers, *integers.pools, *encoders}
    packed = frozenset().union(*map(integers.sources_of, inside)) - inside
    parts = list(_parts(program, inside, packed))
    reads = [frozenset().union(*map(integers.sources_of, part)) for part in parts]
    segments = []
    for i, part in enumerate(parts):
        later: frozenset[str] = frozenset().union(*reads[i + 1 :])
        made = frozenset(part)
        given = reads[i] - made
        segments.append(Segment(part, given, made & later, given - later))
    return tuple(segments)


def _parts(program: Program, inside: set[str], packed: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """Names of steps in segments between which no population's spikes are packed."""
    part: list[str] = []
    for step in program.phase(Phase.TEMPORAL):
        if step.name in inside:
            part.append(step.name)
        elif step.name in packed and part:
            yield tuple(part)
            part = []
    if part:
        yield tuple(part)
