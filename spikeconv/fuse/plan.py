"""Which parts of a network run in integers, and as what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikeconv.convert.program import Phase, Program, Step, refs
from spikeconv.convert.timing import Timing
from spikeconv.fuse.engine import IntegerProgram, Source
from spikeconv.fuse.layer import IntegerLayer, Pair, Pool
from spikeconv.fuse.quantise import FloatConvolution, FloatLayer, FloatShortcut, quantise
from spikeconv.fuse.terms import Reader, Term, Unsupported, image_shape
from spikeconv.neuron import IFNode

Halo = tuple[int, int, int, int]


@dataclass(frozen=True)
class Plan:
    """A network's integer program, and what is left to floating point.

    Attributes:
        program: the layers in integers.
        shapes: of one image's neurons, by name of the population.
        reasons: why each other population runs in floating point, by name.
        absorbed: names of the temporal steps that are done inside integer layers.
        read_as_float: integer populations whose spikes a step in floating point reads.
        read_as_integers: populations and pools that integer layers or pools read.
        last_reads: for each population, the sources that no later one reads.
    """

    program: IntegerProgram
    shapes: Mapping[str, tuple[int, ...]]
    reasons: Mapping[str, str]
    absorbed: frozenset[str]
    read_as_float: frozenset[str]
    read_as_integers: frozenset[str]
    last_reads: Mapping[str, tuple[str, ...]]


def make_plan(
    program: Program,
    layers: Mapping[str, nn.Module],
    neurons: Mapping[str, IFNode],
    timing: Timing,
    precision: str,
    steps: int,
) -> Plan:
    """Every population in integers that has a form in them, safe for so many steps."""
    found: dict[str, IntegerLayer] = {}
    pools: dict[str, Pool] = {}
    reasons: dict[str, str] = {}
    shapes = {step.name: step.shape for step in program.neurons()}
    for step in program.neurons():
        reader = Reader(program, layers)
        try:
            if timing.srp or timing.cos:
                raise Unsupported("SRP and COS look at membranes in floating point")
            terms = _terms(program, reader, step)
            layer = _float_layer(step, terms, layers, neurons, shapes)
            found[step.name] = quantise(layer, precision, _largest(reader.pools, terms), steps)
            pools |= reader.pools
        except Unsupported as unsupported:
            reasons[step.name] = str(unsupported)
    absorbed, read_as_float = _split(program, found)
    sources = _sources(program, found, pools, neurons)
    return Plan(
        IntegerProgram(found, pools, sources),
        shapes,
        reasons,
        absorbed,
        read_as_float,
        frozenset(_read(found, pools)),
        _last_reads(program, found, pools),
    )


def _terms(program: Program, reader: Reader, step: Step) -> tuple[Term, ...]:
    phases = {other.name: other.phase for other in program.steps}
    source = step.args[0].name
    if phases.get(source) is not Phase.TEMPORAL:
        raise Unsupported("its current is the same at every step")
    return reader.current(step)


def _largest(pools: Mapping[str, Pool], terms: tuple[Term, ...]) -> dict[str, int]:
    names = {term.view.source for term in terms}
    return {name: _spikes_at_once(pools.get(name)) for name in names}


def _spikes_at_once(pool: Pool | None) -> int:
    return 1 if pool is None else pool.kernel[0] * pool.kernel[1]


def per_channel(value: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    """A parameter as float64 ``[K]`` on the CPU.

    Raises:
        Unsupported: it differs within a channel.
    """
    rows = value.detach().to("cpu", torch.float64).expand(shape).reshape(shape[0], -1)
    if not bool((rows == rows[:, :1]).all()):
        raise Unsupported(f"{what} differs from neuron to neuron")
    return rows[:, 0].clone()


def _per_channel_or_neuron(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A parameter as float64 ``[K]``, or ``[K, H, W]`` where it differs within a channel."""
    try:
        return per_channel(value, shape, "")
    except Unsupported:
        whole = value.detach().to("cpu", torch.float64).expand(shape)
        return whole.reshape(image_shape(shape)).clone()


def _float_layer(
    step: Step,
    terms: tuple[Term, ...],
    layers: Mapping[str, nn.Module],
    neurons: Mapping[str, IFNode],
    shapes: Mapping[str, tuple[int, ...]],
) -> FloatLayer:
    node = neurons[step.name]
    if node.v_reset is not None:
        raise Unsupported("it is reset to a value and not by subtraction")
    if node.fires != "ge":
        raise Unsupported("it does not fire at its threshold, only above it")
    bias = torch.zeros(step.shape[0], dtype=torch.float64)
    convolutions, shortcuts = [], []
    for term in terms:
        view = term.view
        theta = neurons[view.population].v_threshold
        amplitude = per_channel(theta, shapes[view.population], "the threshold of what it reads")
        amplitude *= term.sign * view.factor
        if term.layer is None:
            shortcuts.append(FloatShortcut(view.source, amplitude, view.stride, view.channel))
            continue
        layer = layers[term.layer]
        assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)
        convolutions.append(_float_convolution(term, layer, amplitude))
        if layer.bias is not None:
            bias += term.sign * layer.bias.detach().to("cpu", torch.float64)
    return FloatLayer(
        name=step.name,
        shape=image_shape(step.shape),
        convolutions=convolutions,
        shortcuts=shortcuts,
        theta=per_channel(node.v_threshold, step.shape, "its threshold"),
        v_init=_per_channel_or_neuron(node.v_init, step.shape),
        bias=_biases(node, step.shape, bias),
        signed=node.signed,
    )


def _float_convolution(
    term: Term, layer: nn.Conv1d | nn.Conv2d | nn.Linear, amplitude: Tensor
) -> FloatConvolution:
    """A layer's weights times what its spikes are worth."""
    view = term.view
    weight = layer.weight.detach().to("cpu", torch.float64)
    left, _, above, _ = view.padding
    if isinstance(layer, nn.Linear):
        weight = weight.view(-1, *view.shape) * amplitude.view(-1, 1, 1)
        return FloatConvolution(view.source, weight, (1, 1), (0, 0), (1, 1), 1)
    groups = layer.groups
    # One row for a sequence: its missing vertical values are those that change nothing.
    kernel = weight.unsqueeze(2) if weight.dim() == 3 else weight
    per_group = amplitude.view(groups, 1, -1, 1, 1)
    kernel = (kernel.view(groups, -1, *kernel.shape[1:]) * per_group).flatten(0, 1)
    own = layer._reversed_padding_repeated_twice  # left, right, above, below: also of "same"
    own_left, _, own_above, _ = (*own, 0, 0)[:4]
    sy, sx = (1, *layer.stride)[-2:]
    dy, dx = (1, *layer.dilation)[-2:]
    padding = above + own_above, left + own_left
    return FloatConvolution(view.source, kernel, (sy, sx), padding, (dy, dx), groups)


def _biases(node: IFNode, shape: tuple[int, ...], layers: Tensor) -> Tensor:
    """All biases of a population, ``[S, K]`` or ``[S, K, H, W]``: those of steps, then the rest."""
    constant = torch.zeros(()) if node.bias is None else node.bias
    steps = () if node.step_bias is None else node.step_bias
    rows = [constant + row for row in steps] + [constant]
    parts = [_per_channel_or_neuron(row, shape) for row in rows]
    if any(part.dim() > 1 for part in parts):
        full = image_shape(shape)
        parts = [p if p.dim() > 1 else p.view(-1, 1, 1).expand(full) for p in parts]
        layers = layers.view(-1, 1, 1)
    return torch.stack(parts) + layers


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
    return frozenset(absorbed), frozenset(read & found.keys())


def _sources(
    program: Program,
    found: Mapping[str, IntegerLayer],
    pools: Mapping[str, Pool],
    neurons: Mapping[str, IFNode],
) -> dict[str, Source]:
    """Everything that is read in integers, and all integer populations."""
    read = _read(found, pools) | found.keys()
    shapes = {s.name: image_shape(s.shape) for s in program.neurons() if s.name in read}
    shapes |= {pool.name: pool.shape for pool in pools.values()}
    halos = _halos(found, pools, shapes)
    sources = {
        name: Source(name, shapes[name], 1, neurons[name].signed, halos[name])
        for name in shapes.keys() - pools.keys()
    }
    for pool in pools.values():
        signed = sources[pool.source].signed
        sources[pool.name] = Source(
            pool.name, pool.shape, _spikes_at_once(pool), signed, halos[pool.name]
        )
    return sources


def _read(found: Mapping[str, IntegerLayer], pools: Mapping[str, Pool]) -> set[str]:
    """Names of what is read in integers."""
    read = {name for layer in found.values() for name in layer.sources()}
    return read | {pool.source for pool in pools.values()}


def _halos(
    found: Mapping[str, IntegerLayer],
    pools: Mapping[str, Pool],
    shapes: Mapping[str, tuple[int, int, int]],
) -> dict[str, Halo]:
    """Zeros that readers see (above, left of, below, right of) each source, the most of any."""
    halos = dict.fromkeys(shapes, (0, 0, 0, 0))

    def read(name: str, size: Pair, window: Pair, stride: Pair, padding: Pair) -> None:
        after = tuple(
            max(0, (out - 1) * step + reach - before - there)
            for out, step, reach, before, there in zip(
                size, stride, window, padding, shapes[name][1:], strict=True
            )
        )
        top, left, below, right = map(max, halos[name], (*padding, *after))
        halos[name] = top, left, below, right

    for layer in found.values():
        for conv in layer.convolutions:
            kernel, dilation = conv.weight.shape[2:], conv.dilation
            reach = (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1
            read(conv.source, layer.shape[1:], reach, conv.stride, conv.padding)
    for pool in pools.values():
        read(pool.source, pool.shape[1:], pool.kernel, pool.stride, pool.padding)
    return halos


def _last_reads(
    program: Program, found: Mapping[str, IntegerLayer], pools: Mapping[str, Pool]
) -> dict[str, tuple[str, ...]]:
    """For every step that reads spikes in integers, the sources that no later one reads."""
    last: dict[str, str] = {}
    for step in program.phase(Phase.TEMPORAL):
        if step.name in pools:
            last[pools[step.name].source] = step.name
        if step.name in found:
            last.update(dict.fromkeys(found[step.name].sources(), step.name))
    reads: dict[str, list[str]] = {}
    for source, reader in last.items():
        reads.setdefault(reader, []).append(source)
    return {reader: tuple(names) for reader, names in reads.items()}
