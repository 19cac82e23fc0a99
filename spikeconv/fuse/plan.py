"""Which parts of a network run in integers, and as what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from spikeconv.fuse.channels import Unsupported
from spikeconv.fuse.encoder import Encoder
from spikeconv.fuse.engine import IntegerProgram
from spikeconv.fuse.float_layer import float_layer
from spikeconv.fuse.layer import IntegerLayer, Pool
from spikeconv.fuse.quantise import quantise
from spikeconv.fuse.segments import Segment, find_segments
from spikeconv.fuse.sources import all_sources, read_in_integers, spikes_at_once
from spikeconv.fuse.stems import Front, find_fronts, find_stems
from spikeconv.fuse.terms import Current, Reader, Static, Term
from spikeconv.network.limits import INTEGER_STEPS
from spikeconv.network.program import Phase, Program, Step, refs
from spikeconv.network.run_step import constants_of
from spikeconv.network.timing import Timing
from spikeconv.neuron import IFNode


@dataclass(frozen=True)
class Plan:
    """A network's integer program, and what is left to floating point.

    Attributes:
        program: the layers in integers.
        shapes: of one image's neurons, by name of the population.
        reasons: why each other population runs in floating point, by name.
        absorbed: names of the temporal steps that are done inside integer layers.
        read_as_float: values that a step in floating point reads.
        read_as_integers: populations, pools and digits that integer layers or pools read.
        encoders: populations in floating point that turn a static current into spikes for integer
            layers, by name.
        statics: what an image adds to each integer layer at every step, by name of the population.
        segments: what runs in integers from end to end.
        stems: static convolutions that a GPU computes in channels-last order.
        fronts: those of them, by name of an encoder, whose bias and max-pool its engine may take.
        whole: whether nothing that varies in time is in floating point.
    """

    program: IntegerProgram
    shapes: Mapping[str, tuple[int, ...]]
    reasons: Mapping[str, str]
    absorbed: frozenset[str]
    read_as_float: frozenset[str]
    read_as_integers: frozenset[str]
    encoders: Mapping[str, Encoder]
    statics: Mapping[str, tuple[Static, ...]]
    segments: tuple[Segment, ...]
    stems: frozenset[str]
    fronts: Mapping[str, Front]
    whole: bool
    _placed: dict[tuple[str, torch.device], IntegerLayer] = field(default_factory=dict)
    _scaled: dict[tuple[str, torch.device], tuple[Static, ...]] = field(default_factory=dict)

    @property
    def in_integers(self) -> bool:
        """Whether an engine runs anything of it."""
        return bool(self.program.layers)

    def population(self, name: str, device: torch.device) -> IntegerLayer | Encoder:
        """What an engine runs under that name, on a device as `layer` has it."""
        return self.encoders[name] if name in self.encoders else self.layer(name, device)

    def layer(self, name: str, device: torch.device) -> IntegerLayer:
        """A layer with all but its weights on a device, to which they are copied once: nothing may
        be while a graph is captured."""
        if (name, device) not in self._placed:
            layer = self.program.layers[name]
            theta, v_init, unit = (x.to(device) for x in (layer.theta, layer.v_init, layer.unit))
            digits = layer.digits and layer.digits.to(device)
            self._placed[name, device] = replace(
                layer, theta=theta, v_init=v_init, unit=unit, digits=digits
            )
        return self._placed[name, device]

    def statics_on(self, name: str, device: torch.device) -> tuple[Static, ...]:
        """`statics` of a layer, likewise."""
        if (name, device) not in self._scaled:
            self._scaled[name, device] = tuple(
                replace(static, scale=static.scale.to(device)) for static in self.statics[name]
            )
        return self._scaled[name, device]

    @cached_property
    def reads(self) -> Mapping[str, tuple[tuple[str, ...], frozenset[str]]]:
        """What each population reads: pools, and the populations that it and they read."""
        found = {}
        for name in (*self.program.layers, *self.encoders):
            direct = self.program.sources_of(name)
            pools = tuple(sorted(direct & self.program.pools.keys()))
            pooled = frozenset().union(*map(self.program.sources_of, pools))
            found[name] = pools, (direct - self.program.pools.keys()) | pooled
        return found

    @cached_property
    def last_readers(self) -> Mapping[str, str]:
        """The last population that reads each, in the order in which they run."""
        order = (name for segment in self.segments for name in segment.steps if name in self.reads)
        return {source: name for name in order for source in self.reads[name][1]}


def make_plan(
    program: Program,
    layers: Mapping[str, nn.Module],
    neurons: Mapping[str, IFNode],
    weights: Mapping[str, Tensor],
    timing: Timing,
    precision: str,
    steps: int,
    *,
    encode: bool,
) -> Plan:
    """Every population in integers that has a form in them.

    Args:
        program, layers, neurons, weights, timing: the network's.
        precision: of the weights.
        steps: T that must be safe.
        encode: whether engines may take static currents, which then are not in float64.
    """
    found: dict[str, IntegerLayer] = {}
    pools: dict[str, Pool] = {}
    reasons: dict[str, str] = {}
    statics: dict[str, tuple[Static, ...]] = {}
    shapes = {step.name: step.shape for step in program.neurons()}
    constants = constants_of(program, layers, weights)
    rooms = 2 if timing.srp or timing.cos else 1
    for step in program.neurons():
        reader = Reader(program, layers, constants)
        try:
            if timing.cos > INTEGER_STEPS:
                raise Unsupported(f"COS looks at more than {INTEGER_STEPS} steps at once")
            current = _current(program, reader, step)
            layer = float_layer(step, current, layers, neurons, shapes)
            largest = _largest(reader.pools, current.terms)
            found[step.name] = quantise(layer, precision, largest, steps, rooms)
            statics[step.name] = current.statics
            pools |= reader.pools
        except Unsupported as unsupported:
            reasons[step.name] = str(unsupported)
    absorbed, read_as_float = _split(program, found)
    read = read_in_integers(found, pools)
    encoded = read - read_as_float - found.keys() if encode else frozenset()
    encoders = _encoders(program, neurons, encoded)
    integers = IntegerProgram(found, pools, all_sources(program, found, pools, neurons))
    return Plan(
        integers,
        shapes,
        reasons,
        absorbed,
        read_as_float,
        read,
        encoders,
        statics,
        find_segments(program, integers, encoders),
        find_stems(program, layers, encoders),
        find_fronts(program, layers, encoders),
        all(
            step.name in absorbed or step.name in found or step.name in encoders
            for step in program.phase(Phase.TEMPORAL)
        ),
    )


def _encoders(
    program: Program, neurons: Mapping[str, IFNode], names: frozenset[str]
) -> dict[str, Encoder]:
    """Those of the populations whose current is the same at every step."""
    phases = {step.name: step.phase for step in program.steps}
    encoders = {}
    for step in program.neurons():
        node = neurons[step.name]
        static = phases.get(step.args[0].name) is not Phase.TEMPORAL
        if step.name in names and static and node.v_reset is None and node.fires == "ge":
            encoders[step.name] = Encoder.of(step.name, node, step.shape)
    return encoders


def _current(program: Program, reader: Reader, step: Step) -> Current:
    phases = {other.name: other.phase for other in program.steps}
    source = step.args[0].name
    if phases.get(source) is not Phase.TEMPORAL:
        raise Unsupported("its current is the same at every step")
    return reader.current(step)


def _largest(pools: Mapping[str, Pool], terms: tuple[Term, ...]) -> dict[str, int]:
    names = {term.view.source for term in terms}
    return {name: spikes_at_once(pools.get(name)) for name in names}


def _split(
    program: Program, found: Mapping[str, IntegerLayer]
) -> tuple[frozenset[str], frozenset[str]]:
    """Steps that only integer layers need, and integer populations that others read."""
    temporal = {step.name: step for step in program.phase(Phase.TEMPORAL)}
    needed = {name for name in program.boundary if temporal[name].kind != "neuron"}
    needed |= {s.name for s in temporal.values() if s.kind == "neuron" and s.name not in found}
    read: set[str] = set()
    for step in reversed(temporal.values()):  # readers come after what they read
        if step.name in needed:
            names = {ref.name for ref in refs((step.args, step.kwargs))} & temporal.keys()
            read |= names
            needed |= {name for name in names if temporal[name].kind != "neuron"}
    absorbed = {s.name for s in temporal.values() if s.kind != "neuron"} - needed
    return frozenset(absorbed), frozenset(read)
