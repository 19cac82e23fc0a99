"""Parts of a network that run in integers from end to end, so that an engine takes each at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spikeconv.convert.program import Phase, Program
from spikeconv.fuse.encoder import Encoder
from spikeconv.fuse.layer import IntegerLayer, Pool


@dataclass(frozen=True)
class Segment:
    """Encoders, layers and pools that need nothing that is computed between them.

    Attributes:
        steps: their names, in order.
        given: sources that come from before.
        kept: of its steps, those whose spikes later segments read.
        dropped: sources that no later segment reads.
    """

    steps: tuple[str, ...]
    given: frozenset[str]
    kept: frozenset[str]
    dropped: frozenset[str]


def find_segments(
    program: Program,
    layers: Mapping[str, IntegerLayer],
    pools: Mapping[str, Pool],
    encoders: Mapping[str, Encoder],
    packed: frozenset[str],
) -> tuple[Segment, ...]:
    """The segments of a program in order, each as long as it can be.

    Args:
        program: the steps in order.
        layers, pools, encoders: those that are in integers, by name.
        packed: populations in floating point whose spikes integer layers read: a segment ends
            before each.
    """
    parts = list(_parts(program, {*layers, *pools, *encoders}, packed))
    reads = [_read(part, layers, pools) for part in parts]
    segments = []
    for i, part in enumerate(parts):
        later: frozenset[str] = frozenset().union(*reads[i + 1 :])
        made = frozenset(part)
        segments.append(Segment(part, reads[i] - made, made & later, (made | reads[i]) - later))
    return tuple(segments)


def _parts(program: Program, inside: set[str], packed: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """Names of steps in integers between which no population in floating point is packed."""
    part: list[str] = []
    for step in program.phase(Phase.TEMPORAL):
        if step.name in inside:
            part.append(step.name)
        elif step.name in packed and part:
            yield tuple(part)
            part = []
    if part:
        yield tuple(part)


def _read(
    part: tuple[str, ...], layers: Mapping[str, IntegerLayer], pools: Mapping[str, Pool]
) -> frozenset[str]:
    """Sources that the steps of a part read."""
    read: set[str] = set()
    for name in part:
        if name in layers:
            read.update(layers[name].sources())
        if name in pools:
            read.add(pools[name].source)
    return frozenset(read)
