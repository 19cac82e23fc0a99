"""How a GPU computes what leads to the first neurons, and that values stay what they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import spikeconv
from spikeconv import SpikingNetwork
from spikeconv.fuse import gpu, stems
from spikeconv.fuse.stems import Front
from spikeconv.network.timing import Timing
from tests.fuse.nets import NETS, exact, images, shape_of


class Viewed(nn.Module):
    """What its first convolution gives is read by a second one, and by a `view`."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.pool = nn.BatchNorm2d(3), nn.MaxPool2d(2)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last, self.head = nn.Conv2d(8, 4, 3), nn.Linear(16 + 512, 3)
        self.one, self.two, self.three = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.norm(x))
        y = self.two(self.last(self.one(self.pool(self.second(x)))))
        return self.head(torch.cat([y.flatten(1), self.three(x.view(len(x), -1))], 1))


def orders(snn: SpikingNetwork, x: Tensor) -> dict[str, bool]:
    """By name of a static convolution, whether it was called in channels-last order."""
    found: dict[str, bool] = {}

    def seen_by(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(conv: nn.Module, given: tuple[Tensor, ...]) -> None:
            found[name] = given[0].is_contiguous(memory_format=torch.channels_last)

        return hook

    # A hook on any other would take it out of the integers.
    convolutions = [(name, snn.layers[name]) for name in ("first", "second")]
    hooks = [conv.register_forward_pre_hook(seen_by(name)) for name, conv in convolutions]
    with torch.no_grad():
        snn(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stems, "DEVICES", ("cpu", "cuda"))


@pytest.mark.usefixtures("anywhere")
def test_only_what_leads_to_neurons_alone_is_in_channels_last() -> None:
    x = images((3, 8, 8), 4)
    fused = spikeconv.convert(Viewed(), x, T=4, method="opi", progress=False).fuse()
    assert fused.integers is not None
    # Through a pool to neurons; what a `view` reads is not, and temporal ones are an engine's.
    assert fused.integers.plan(4).stems == {"second"}
    assert "last" in fused.integers.plan(4).absorbed
    assert orders(fused, x) == {"first": False, "second": True}


@torch.no_grad()
@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("backend", ["cpp", "reference"])
@pytest.mark.parametrize("name", NETS)
def test_exact_networks_give_the_same_bits(name: str, backend: str) -> None:
    snn, x = exact(name), images(shape_of(name), 3)
    assert torch.equal(snn.fuse(backend=backend)(x), snn(x))


def fronts_of(ann: nn.Module, shape: tuple[int, ...]) -> dict[str, Front]:
    ann.eval()(images(shape, 1))  # lazy layers take their shape
    snn = spikeconv.convert(ann, images(shape, 4), T=4, method="opi", progress=False)
    integers = snn.fuse().integers
    assert integers is not None
    return dict(integers.plan(4).fronts)


def test_a_front_is_a_convolution_and_a_pool_that_nothing_else_reads() -> None:
    assert fronts_of(Viewed(), (3, 8, 8)) == {"one": Front("second", "second", "pool", "pool")}
    found = fronts_of(NETS["max-pooled"][0](), shape_of("max-pooled"))
    (front,) = found.values()
    assert front.pool is not None
    assert [front.layer, front.pool_layer] == ["_0", "_2_1"]
    (front,) = fronts_of(NETS["strided"][0](), shape_of("strided")).values()
    assert front == Front(front.convolution, "_0", None, None)
    # What two populations read is not one, and neither is what comes from a linear layer.
    ann = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    assert fronts_of(ann, (3, 2, 2)) == {}


class Forked(nn.Module):
    """Two populations under the same convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.next = nn.Conv2d(3, 4, 3), nn.Conv2d(8, 4, 3)
        self.one, self.two, self.three = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.three(self.next(torch.cat([self.one(x), self.two(-x)], 1))).flatten(1)


def test_what_two_populations_read_is_no_front() -> None:
    assert fronts_of(Forked(), (3, 8, 8)) == {}


@torch.no_grad()
@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("backend", ["reference", "triton"])
@pytest.mark.parametrize("T", [1, 16, 40])
@pytest.mark.parametrize("signed", [False, True])
def test_pools_and_biases_are_an_engine_s(
    backend: str, T: int, signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    original = gpu.TritonEngine.encode
    monkeypatch.setattr(
        gpu.TritonEngine, "encode", lambda *args: encoded.append(args[1:]) or original(*args)
    )
    # On the CPU in the interpreter, as a GPU would.
    snn, x = exact("max-pooled", signed=signed), images(shape_of("max-pooled"), 3)
    assert torch.equal(snn.fuse(backend=backend)(x, T=T), snn(x, T=T))
    # Words hold 32 steps, and no net count.
    assert len(encoded) == (backend == "triton" and T <= 32 and not signed)


def test_a_window_with_many_terms_is_torch_s() -> None:
    for size, found in ((4, True), (5, False), ((1, 16), True), ((17, 1), False)):
        ann = nn.Sequential(
            nn.Conv2d(3, 4, 1), nn.MaxPool2d(size), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.ReLU()
        )
        fronts = fronts_of(nn.Sequential(ann, nn.Flatten()), (3, 17, 17))
        assert len(fronts) == found, size


@torch.no_grad()
@pytest.mark.usefixtures("anywhere")
def test_a_pool_is_taken_once_however_many_parts_time_has(monkeypatch: pytest.MonkeyPatch) -> None:
    snn, x = exact("max-pooled"), images(shape_of("max-pooled"), 3)
    fused, wanted = snn.fuse(backend="reference"), snn(x, T=40)
    forward, taken = nn.MaxPool2d.forward, []

    def counted(pool: nn.MaxPool2d, x: Tensor) -> Tensor:
        taken.append(pool)
        return forward(pool, x)

    monkeypatch.setattr(nn.MaxPool2d, "forward", counted)
    assert torch.equal(fused(x, T=40), wanted)  # words hold 32 steps
    assert len(taken) == 1


@torch.no_grad()
@pytest.mark.usefixtures("anywhere")
def test_cos_looks_at_pooled_currents() -> None:
    snn, x = exact("max-pooled"), images(shape_of("max-pooled"), 3)
    snn.timing = Timing(cos=2)
    assert torch.equal(snn.fuse(backend="reference")(x), snn(x))


@torch.no_grad()
@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("layer", ["_0", "_2_1"])
def test_a_forward_of_its_own_is_called(layer: str) -> None:
    snn, x = exact("max-pooled"), images(shape_of("max-pooled"), 3)
    for network in (snn, fused := snn.fuse(backend="reference")):
        module = network.layers[layer]
        forward = type(module).forward
        module.forward = lambda x, module=module, forward=forward: 2 * forward(module, x)
    assert torch.equal(fused(x), snn(x))


@torch.no_grad()
@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("layer", ["_0", "_2_1"])
def test_layers_that_somebody_listens_to_are_called(layer: str) -> None:
    snn, x = exact("max-pooled"), images(shape_of("max-pooled"), 3)
    fused, wanted = snn.fuse(backend="reference"), snn(x)
    module = fused.layers[layer]
    assert isinstance(fused, SpikingNetwork)
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: seen.append(output))
    assert torch.equal(fused(x), wanted)
    assert len(seen) == 1
    handle.remove()
    assert torch.equal(fused(x), wanted)
    assert len(seen) == 1


def test_a_cpu_keeps_the_order_of_the_images() -> None:
    x = images((3, 8, 8), 4)
    fused = spikeconv.convert(Viewed(), x, T=4, method="opi", progress=False).fuse()
    assert orders(fused, x) == {"first": False, "second": False}
