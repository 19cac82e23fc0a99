"""A residual network in integers: everything that a chain may hold, with an encoder before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.encoder import Encoder
from spikeconv.fuse.engine import IntegerProgram, Source
from spikeconv.fuse.layer import WEIGHTS, Convolution, IntegerLayer, Pair, Pool, Shortcut
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops import if_multistep

HALO = (1, 1, 1, 1)


@dataclass
class Network:
    """Steps by name, in order; "stem" is an encoder."""

    signed: bool
    precision: str
    random: torch.Generator
    sources: dict[str, Source] = field(default_factory=dict)
    layers: dict[str, IntegerLayer] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    encoder: Encoder | None = None

    @property
    def program(self) -> IntegerProgram:
        return IntegerProgram(self.layers, self.pools, self.sources)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.random, dtype=torch.int32)

    def most(self) -> int:
        """Of weights."""
        return WEIGHTS[self.precision].largest

    def stem(self, shape: tuple[int, int, int], *, alike: bool) -> None:
        """Neurons of a channel that are `alike` have the same bias."""
        self.sources["stem"] = Source("stem", shape, 1, self.signed, HALO)
        random = self.random
        self.encoder = Encoder(
            "stem",
            torch.rand(shape[0], 1, 1, generator=random) + 0.5,
            torch.rand(1, 1, 1, generator=random),
            torch.randn(3, shape[0], *((1, 1) if alike else shape[1:]), generator=random) / 10,
        )
        self.steps.append("stem")

    def convolution(self, source: str, channels: int, kernel: int, stride: Pair) -> Convolution:
        inputs = self.sources[source].shape[0]
        most = self.most()
        weight = self.integers(-most, most + 1, channels, inputs, kernel, kernel)
        dtype = WEIGHTS[self.precision].dtype
        return Convolution(source, weight.to(dtype), stride, (kernel // 2, kernel // 2))

    def layer(
        self, name: str, convolutions: list[Convolution], shortcuts: list[Shortcut], size: Pair
    ) -> None:
        channels = convolutions[0].weight.shape[0]
        scale = 2 * self.most()
        self.layers[name] = IntegerLayer(
            name,
            (channels, *size),
            tuple(convolutions),
            tuple(shortcuts),
            1,
            self.integers(scale, 4 * scale, channels),
            self.integers(-scale, scale, channels),
            self.integers(0, scale, 2, channels),
            self.signed,
            torch.ones(channels, dtype=torch.float64),
            1000,
        )
        self.sources[name] = Source(name, (channels, *size), 1, self.signed, HALO)
        self.steps.append(name)

    def block(self, name: str, source: str, channels: int, stride: Pair, jump: str) -> str:
        """Two convolutions and a shortcut: "identity" with more channels, or a "projection"."""
        before = self.sources[source].shape
        size = -(-before[1] // stride[0]), -(-before[2] // stride[1])
        self.layer(f"{name}.first", [self.convolution(source, channels, 3, stride)], [], size)
        convolutions = [self.convolution(f"{name}.first", channels, 3, (1, 1))]
        shortcuts = []
        if jump == "projection":
            convolutions.append(self.convolution(source, channels, 1, stride))
        else:
            offset = (channels - before[0]) // 2
            coefficient = self.integers(-500, 500, before[0])
            shortcuts.append(Shortcut(source, coefficient, stride, offset))
        self.layer(f"{name}.second", convolutions, shortcuts, size)
        return f"{name}.second"

    def pool(self, name: str, source: str) -> str:
        channels, height, width = self.sources[source].shape
        shape = (channels, height // 2, width // 2)
        self.pools[name] = Pool(name, source, (2, 2), (2, 2), (0, 0), shape)
        self.sources[name] = Source(name, shape, 4, self.signed, HALO)
        self.steps.append(name)
        return name


def residual(
    *,
    seed: int,
    signed: bool = False,
    precision: str = "int8",
    width: int = 5,
    size: Pair = (6, 5),
    alike: bool = False,
) -> Network:
    """Stem, blocks with every kind of shortcut, a pool, and a layer over the whole image."""
    net = Network(signed, precision, torch.Generator().manual_seed(seed))
    net.stem((width, *size), alike=alike)
    last = net.block("plain", "stem", width, (1, 1), "identity")
    last = net.block("more", last, width + 3, (2, 1), "identity")
    last = net.block("projected", last, 2 * width, (1, 2), "projection")
    last = net.pool("pooled", last)
    last = net.block("after", last, 3 * width, (1, 1), "projection")
    inputs, height, columns = net.sources[last].shape
    weight = net.integers(-127, 128, 7, inputs, height, columns).to(torch.int8)
    net.layer("linear", [Convolution(last, weight)], [], (1, 1))
    return net


def trains(net: Network, current: Tensor, T: int) -> dict[str, Tensor]:
    """What the definition gives for every step: int8 trains by name."""
    encoder = net.encoder
    assert encoder is not None
    rows = torch.arange(T).clamp(max=2)
    bias = None if encoder.bias is None else encoder.bias[rows].unsqueeze(1)
    spikes, _ = if_multistep(
        current, encoder.v_threshold, encoder.v_init, bias,
        T=T, signed=net.signed, emit="uint8", backend="reference",
    )  # fmt: skip
    found = {"stem": spikes.to(torch.int8)}
    engine = ReferenceEngine(net.program)
    wants = {"want_spikes": True, "want_count": False, "want_state": False}
    for name in net.steps[1:]:
        if name in net.pools:
            pool = net.pools[name]
            found[name] = engine.run_pool(pool, found[pool.source])
        else:
            found[name] = engine.run_layer(net.layers[name], found, None, **wants).spikes
    return found


def engine_of(net: Network, isa: str | None = None, sums: str = "auto") -> CpuEngine:
    assert net.encoder is not None
    return CpuEngine(net.program, [net.encoder], isa, sums)


def currents(net: Network, B: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(B, *net.sources["stem"].shape, generator=random)
