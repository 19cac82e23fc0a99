"""A program's time cut at its populations: what is computed for the currents of each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from spikeconv.network.program import Phase, Program, Step, refs


@dataclass(frozen=True)
class Segment:
    """The temporal calls that lead from what earlier populations emit to the current of one.

    Attributes:
        neuron: the population; None of the last segment, which leads to the readout.
        steps: the calls, in order, none of them a population.
        reads: what they and the population read of earlier segments: trains and values kept.
        keeps: those of their values that later segments read as well.
        dead: trains and kept values that no later segment reads.
    """

    neuron: Step | None
    steps: tuple[Step, ...]
    reads: tuple[str, ...]
    keeps: tuple[str, ...]
    dead: tuple[str, ...]


def segments(program: Program) -> tuple[Segment, ...]:
    """One for every population, in their order, and one for the readout.

    A call belongs to the first segment that needs its value, and is not made again in later ones:
    they find it kept. What a population emits is all that most of them read.
    """
    temporal = tuple(program.phase(Phase.TEMPORAL))
    neurons = [step for step in temporal if step.kind == "neuron"]
    home = {step.name: index for index, step in enumerate(neurons)}
    readers: dict[str, set[int]] = defaultdict(set)
    for step in reversed(temporal):
        if step.kind != "neuron":
            home[step.name] = min(readers[step.name], default=len(neurons))
        for ref in refs((step.args, step.kwargs)):
            readers[ref.name].add(home[step.name])
    last = {step.name: max(readers[step.name], default=home[step.name]) for step in temporal}

    made = []
    for index, neuron in enumerate((*neurons, None)):
        own = [s for s in temporal if s.kind != "neuron" and home[s.name] == index]
        reading = own if neuron is None else [*own, neuron]
        read = {ref.name for step in reading for ref in refs((step.args, step.kwargs))}
        made.append(
            Segment(
                neuron,
                tuple(own),
                tuple(s.name for s in temporal if s.name in read and home[s.name] < index),
                tuple(s.name for s in own if last[s.name] > index),
                tuple(s.name for s in temporal if home[s.name] < index == last[s.name]),
            )
        )
    return tuple(made)
