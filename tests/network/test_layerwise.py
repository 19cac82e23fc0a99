"""The run that corrections are fitted in: the bits of a run in time, and little kept meanwhile."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikeconv.convert import SpikingNetwork
from spikeconv.convert.feeding import feeding_layers
from spikeconv.network.layerwise import LayerwiseRun
from spikeconv.network.packed import PackedTrain
from spikeconv.network.program import Phase, refs
from spikeconv.network.run_step import constants_of
from spikeconv.network.segments import segments
from spikeconv.network.simulation import Simulation
from spikeconv.network.structure import tensors
from spikeconv.network.timing import Timing
from tests.convert.nets import Body, Net, converted, images
from tests.helpers import assert_same

CHAIN: Body = lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x)))))  # noqa: E731


def residual(s: Net, x: Tensor) -> Tensor:
    h = F.relu(s.c1(x))
    for _ in range(3):
        h = F.relu(s.c2(h) + h)
    return s.head(h)


def before_activation(s: Net, x: Tensor) -> Tensor:
    """The sum that no neuron follows goes on through all blocks."""
    h = s.c2(F.relu(s.c1(x)))
    for _ in range(3):
        h = h + s.c2(F.relu(h))
    return s.head(F.relu(h))


def dense(s: Net, x: Tensor) -> Tensor:
    one = s.c2(F.relu(s.c1(x)))
    two = s.c2(F.relu(one))
    both = torch.cat([F.relu(one)[:, :2], F.relu(two)[:, 2:]], 1)
    return s.head(F.relu(s.c2(both)) + F.relu(one + two))


def pooled(s: Net, x: Tensor) -> Tensor:
    """A max pool that keeps its sum over time, since what it takes has no current alone."""
    both = F.max_pool2d(F.relu(s.c1(x)) + F.relu(s.c1(x * 2)), 2)
    return s.head(F.relu(s.c2(both)))


def several(s: Net, x: Tensor) -> dict[str, Tensor]:
    """Outputs of a population, of a layer between two, and of what is no spike at all."""
    still = s.c1(x)
    h = F.relu(still)
    between = s.c2(h)
    return {"spikes": h, "between": between, "last": s.head(F.relu(between)), "still": still}


NETWORKS: dict[str, Body] = {
    "chain": CHAIN,
    "residual": residual,
    "before activation": before_activation,
    "dense": dense,
    "max pool": pooled,
    "several outputs": several,
    "one an image": lambda s, x: (s.c2(s.c1(x).relu()).mean((1, 2, 3)) + 0.5).relu(),
}


def made(name: str, **options: object) -> tuple[SpikingNetwork, Tensor]:
    x = images(12)
    return converted(Net(NETWORKS[name]), x, threshold="mse", **options), x


def begun(snn: SpikingNetwork, x: Tensor, T: int) -> LayerwiseRun:
    constants = constants_of(snn.program, snn.layers, snn.weights())
    return LayerwiseRun(snn.program, snn.layers, snn.populations(), constants, x, T, None)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("T", [1, 7, 8, 19])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_bits_of_a_run_in_time(name: str, T: int, signed: bool) -> None:
    """However often each current was asked for before its population fired."""
    snn, x = made(name, signed=signed, T=T)
    network = snn.program, snn.layers, snn.populations(), snn.weights()
    wanted = Simulation(*network, x, Timing()).mean_output(T, T)
    run = begun(snn, x, T)
    *before, last = segments(snn.program)
    for segment in before:
        first, again = run.current(segment), run.current(segment)
        assert torch.equal(first, again) and first.shape[:2] == (T, len(x))
        run.fire(segment)
    for given, expected in zip(tensors(run.output(last)), tensors(wanted), strict=True):
        assert_same(given, expected)
    assert not run.emitted and not run.kept


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_means_are_those_over_time(name: str, signed: bool) -> None:
    """Of the current, and of what the layer before it is given."""
    snn, x = made(name, signed=signed, T=5)
    run = begun(snn, x, 5)
    feeding = feeding_layers(snn.program, snn.layers)
    for segment in segments(snn.program)[:-1]:
        assert segment.neuron is not None
        current = run.current(segment).mean(0)
        if (layer := feeding.get(segment.neuron.name)) is not None:
            given, mean = run.means(segment, layer)
            torch.testing.assert_close(mean, current)
            if layer.name == segment.neuron.args[0].name:
                torch.testing.assert_close(snn.layers[layer.target](given), mean)
        run.fire(segment)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_call_belongs_to_one_segment(name: str) -> None:
    """What it reads is there: made in it, kept, emitted by an earlier population, or no spike."""
    program = made(name)[0].program
    steps = {step.name: step for step in program.phase(Phase.TEMPORAL)}
    found = segments(program)
    assert [segment.neuron for segment in found] == [*program.neurons(), None]
    own = [step.name for segment in found for step in segment.steps]
    assert sorted(own) == sorted(name for name, step in steps.items() if step.kind != "neuron")
    there: set[str] = set()
    for segment in found:
        assert set(segment.reads) <= there
        for step in segment.steps:
            names = {ref.name for ref in refs((step.args, step.kwargs))} & steps.keys()
            assert names <= {*segment.reads, *(s.name for s in segment.steps)}
        there |= {*segment.keeps, *([segment.neuron.name] if segment.neuron else ())}
        assert set(segment.dead) <= there
        there -= set(segment.dead)


@pytest.mark.parametrize(
    ("name", "kept"), [("chain", 0), ("residual", 0), ("before activation", 3), ("dense", 2)]
)
def test_what_is_kept_besides_spikes(name: str, kept: int) -> None:
    """Nothing where neurons follow every sum; the running sum and layers read twice where not."""
    assert sum(len(s.keeps) for s in segments(made(name)[0].program)) == kept


@pytest.mark.parametrize("T", [1, 2, 7, 8, 9, 16, 33])
@pytest.mark.parametrize("least", [0, -1])
def test_packed_trains(T: int, least: int) -> None:
    """They come back as they were, in an eighth of a byte a step, or two eighths with -1."""
    train = torch.randint(least, 2, (T, 3, 4), dtype=torch.int8)
    train[0, 0, 0] = least
    packed = PackedTrain(train)
    assert torch.equal(packed.unpacked(torch.float32), train.float())
    assert torch.equal(packed.count(), train.sum(0, dtype=torch.int32))
    assert packed.positive.numel() == -(-T // 8) * 12
    assert (packed.negative is None) == (least == 0)
