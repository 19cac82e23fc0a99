"""What integer layers read: shapes, signs, and the zeros around images that their readers see."""

from __future__ import annotations

from collections.abc import Mapping

from spikeconv.fuse.channels import image_shape
from spikeconv.fuse.engine import Source
from spikeconv.fuse.layer import IntegerLayer, Pair, Pool
from spikeconv.network.program import Program
from spikeconv.neuron import IFNode

Halo = tuple[int, int, int, int]


def spikes_at_once(pool: Pool | None) -> int:
    """The largest sum of spikes of one step: of a pool, of its window; else 1."""
    return 1 if pool is None else pool.kernel[0] * pool.kernel[1]


def read_in_integers(
    layers: Mapping[str, IntegerLayer], pools: Mapping[str, Pool]
) -> frozenset[str]:
    """Names of the populations and pools that integer layers and pools read."""
    read = {name for layer in layers.values() for name in layer.sources()}
    return frozenset(read | {pool.source for pool in pools.values()})


def all_sources(
    program: Program,
    layers: Mapping[str, IntegerLayer],
    pools: Mapping[str, Pool],
    neurons: Mapping[str, IFNode],
) -> dict[str, Source]:
    """Everything that is read in integers, and all integer populations, by name."""
    named = read_in_integers(layers, pools) | layers.keys()
    populations = {s.name: image_shape(s.shape) for s in program.neurons() if s.name in named}
    shapes = populations | {pool.name: pool.shape for pool in pools.values()}
    halos = _halos(layers, pools, shapes)
    sources = {
        name: Source(name, shape, 1, neurons[name].signed, halos[name])
        for name, shape in populations.items()
    }
    for layer in layers.values():
        for name, largest in layer.digits.largest.items() if layer.digits is not None else ():
            sources[name] = Source(name, layer.shape, largest, True, (0, 0, 0, 0), static=True)
    for pool in pools.values():
        signed = sources[pool.source].signed
        sources[pool.name] = Source(
            pool.name, pool.shape, spikes_at_once(pool), signed, halos[pool.name]
        )
    return sources


def _halos(
    layers: Mapping[str, IntegerLayer],
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

    for layer in layers.values():
        for conv in layer.convolutions:
            kernel, dilation = conv.weight.shape[2:], conv.dilation
            reach = (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1
            read(conv.source, layer.shape[1:], reach, conv.stride, conv.padding)
    for pool in pools.values():
        read(pool.source, pool.shape[1:], pool.kernel, pool.stride, pool.padding)
    return halos
