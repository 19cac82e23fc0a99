"""SRP, COS and delays in integers: the bits of the simulation where no number needs rounding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import spikeconv
from spikeconv import SpikingNetwork
from spikeconv.fuse.engine import Given, Want
from spikeconv.fuse.engines import make_engine
from spikeconv.fuse.layer import Convolution, IntegerLayer
from spikeconv.fuse.reach import largest_potential
from spikeconv.fuse.starts import initial_state, look_at, moved, never, silent_after
from spikeconv.network.timing import Timing
from tests.fuse.nets import NETS, exact, images, shape_of

TIMINGS = {
    "srp": Timing(srp=3),
    "cos": Timing(cos=2),
    "both": Timing(srp=2, cos=3),
    "all": Timing(delay=1, srp=3, cos=1),
}
T = 9


def timed(name: str, timing: str, *, signed: bool = False) -> SpikingNetwork:
    snn = exact(name, signed=signed, T=T)
    snn.timing = TIMINGS[timing]
    return snn


@torch.no_grad()
@pytest.mark.parametrize("signed", [False, True], ids=["binary", "signed"])
@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("name", NETS)
def test_equals_the_simulation(name: str, timing: str, signed: bool) -> None:
    snn = timed(name, timing, signed=signed)
    fused, x = snn.fuse(), images(shape_of(name), 3, seed=7)
    paths = list(fused.report().paths.values())
    assert paths.count("int8") == len(paths) - 1 - (name == "resized")
    expected = snn(x)
    assert torch.equal(fused(x), expected)
    assert torch.equal(fused(x, readout="all"), snn(x, readout="all"))
    assert torch.equal(fused(x[:0]), snn(x[:0]))
    snn.timing = Timing()
    if name == "residual":  # in which it matters what they prepare
        assert not torch.equal(snn(x, T=T - TIMINGS[timing].before), expected)


@torch.no_grad()
@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("name", ["residual", "pooled", "concatenated", "resized"])
def test_long_runs_come_in_chunks(name: str, timing: str) -> None:
    snn = timed(name, timing, signed=True)
    fused, x = snn.fuse(), images(shape_of(name), 2)
    assert torch.equal(fused(x, T=70), snn(x, T=70))
    # Theirs are chunks of other lengths, and some libraries round a head's sums, of means that are
    # no exact numbers after 70 steps, by the size of the batch: MKL on an Intel processor does.
    torch.testing.assert_close(
        fused(x, T=70, readout="all"), snn(x, T=70, readout="all"), rtol=1e-6, atol=1e-6
    )


@torch.no_grad()
@pytest.mark.parametrize("timing", TIMINGS)
def test_counting_and_leaving_early(timing: str) -> None:
    snn = timed("residual", timing)
    fused, x = snn.fuse(), images(shape_of("residual"), 6)
    with snn.monitor(keep_counts=True) as wanted, fused.monitor(keep_counts=True) as found:
        snn(x), fused(x)
    assert found.firing_rates() == wanted.firing_rates()
    for name, counts in wanted.counts.items():
        assert torch.equal(found.counts[name], counts)
    assert fused.operations(found) == snn.operations(wanted)
    for confidence in (0.4, 0.9):
        assert all(map(torch.equal, fused.exit_early(x, confidence), snn.exit_early(x, confidence)))


@torch.no_grad()
@pytest.mark.parametrize("name", ["residual", "pooled", "sequence"])
@pytest.mark.parametrize("backend", ["reference", "cpp", "triton"])
def test_every_engine_is_prepared_alike(name: str, backend: str) -> None:
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    for timing in TIMINGS:
        snn = timed(name, timing, signed=timing == "both")
        x = images(shape_of(name), 2)
        found = snn.fuse(backend=backend).to(device)(x.to(device))
        assert torch.equal(found.to("cpu"), snn.fuse(backend="reference")(x)), timing
        assert device == "cuda" or torch.equal(found, snn(x)), timing


@torch.no_grad()
def test_biases_of_steps_and_potentials_of_neurons() -> None:
    """COS looks at the first steps with their own biases, and starts from each neuron's v_init."""
    for timing in TIMINGS:
        snn = timed("residual", timing)
        for name, node in list(snn.populations().items()):
            shape = tuple(snn.report().rows[list(snn.neurons).index(name)].shape)
            steps = torch.arange(3.0).view(3, *[1] * len(shape)) * torch.ones(3, *shape) / 4
            start = torch.arange(float(torch.tensor(shape).prod())).view(shape) % 5 / 4
            snn.neurons[name] = node.replaced(step_bias=steps, bias=-0.25, v_init=start)
        x = images(shape_of("residual"), 2)
        assert torch.equal(snn.fuse()(x), snn(x)), timing


def layer(theta: int, v_init: int, weight: int = 1) -> IntegerLayer:
    """One neuron that reads one input."""
    one = torch.tensor([weight], dtype=torch.int8).view(1, 1, 1, 1)
    number = torch.tensor
    return IntegerLayer(
        name="y",
        shape=(1, 1, 1),
        convolutions=(Convolution("x", one),),
        shortcuts=(),
        shift=0,
        theta=number([theta], dtype=torch.int32),
        v_init=number([v_init], dtype=torch.int32),
        bias=number([[0]], dtype=torch.int32),
        signed=False,
        unit=torch.ones(1, dtype=torch.float64),
        steps=64,
    )


def start_after(population: IntegerLayer, spikes: tuple[int, ...], v: tuple[int, ...]) -> int:
    """Where COS has the neuron start, once it has seen such steps."""
    look = look_at(population, signed=False)
    for emitted, potential in zip(spikes, column(*v), strict=True):
        look.add(torch.full((1, 1, 1, 1), emitted, dtype=torch.int8), potential)
    found = moved(population, look)
    assert found.dtype == torch.int32
    return int(found.item())


def column(*values: int) -> torch.Tensor:
    """``[rho, 1, 1, 1, 1]``."""
    return torch.tensor(values, dtype=torch.int32).view(-1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("spikes", "v", "wanted"),
    [
        # m = 1250, -1250: fired for a negative sum. 1250 - 999 = 251 < theta: one theta lower.
        ((1, 0), (250, -1250), 500 - 1000),
        # m = 2600, then -1: 2600 - 999 = 1601 is more than theta.
        ((1, 0), (1600, -1), 500 - 1601),
        # m = -300, then 2100: too few; 1001 + 300 = 1301 brings the quiet step to the threshold.
        ((0, 1), (-300, 1100), 500 + 1301),
        ((1, 1), (1700, 1200), 500),  # it cannot fire more
        ((0, 0), (-5, -9), 500),  # it cannot fire less
    ],
)
def test_where_cos_has_an_integer_neuron_start(
    spikes: tuple[int, int], v: tuple[int, int], wanted: int
) -> None:
    assert start_after(layer(1000, 500), spikes, v) == wanted


def test_cos_is_rounded_away_from_the_threshold() -> None:
    """A thousandth of theta = 7 is no integer."""
    assert start_after(layer(7, 3), (1, 0), (4, -1)) == 3 - 7  # m = 11, 4.007 is less than theta
    assert start_after(layer(7, 3), (1, 0), (9, -1)) == 3 - 10  # m = 16 goes to 6, by 9.007
    assert start_after(layer(7, 3), (0, 1), (-9, 8)) == 3 + 17  # -9 goes to 8, by 16.007


def test_what_srp_silences() -> None:
    """A potential of a thousandth of theta is no rest: 1 of 1000, and 0 of 7."""
    assert silent_after(layer(1000, 0), column(1, 2, 0, -4)[0]).item()
    assert silent_after(layer(1000, 0), column(2)[0]).item() is False
    assert silent_after(layer(7, 0), column(0)[0]).item()
    assert silent_after(layer(7, 0), column(1)[0]).item() is False


def ones(T: int, signed: bool = False) -> SpikingNetwork:
    """A population of 512 that always fire, read by three whose weights are to be summed.

    All weights are equal but one, by which they are no bytes.
    """
    ann = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 512), nn.ReLU(), nn.Linear(512, 3), nn.ReLU(), nn.Linear(3, 2)
    )
    for parameter in ann.parameters():
        nn.init.ones_(parameter)
    ann[3].weight.data[:, 0] = 0.7
    x = torch.rand(8, 1, 2, 2)
    return spikeconv.convert(ann, x, T=T, method="opi", signed=signed, progress=False)


@torch.no_grad()
@pytest.mark.parametrize("backend", ["reference", "cpp"])
@pytest.mark.parametrize("start", ["silent", "lowest", "highest"])
@pytest.mark.parametrize("signed", [False, True], ids=["binary", "signed"])
def test_nothing_overflows(backend: str, start: str, signed: bool) -> None:
    """From the farthest that SRP or COS may put a neuron, with all that can arrive in 64 steps.

    Potentials are those that sums in int64 give, which no limit touches.
    """
    snn = ones(64, signed)
    snn.timing = TIMINGS["both"]
    fused = snn.fuse("int16")
    assert fused.integers is not None
    plan = fused.integers.plan(64)
    (layer_,) = plan.program.layers.values()
    assert layer_.precision == "int16"
    (source,) = layer_.sources()
    reach = largest_potential(layer_, {source: 1}, 64)
    assert 2**27 < reach < 2**30
    begin = initial_state(layer_, (1, *layer_.shape), signed)
    farthest = {"lowest": -reach, "highest": reach}
    v = never(layer_, begin.v, torch.ones(begin.v.shape, dtype=torch.bool))
    if start in farthest:
        v = torch.full_like(begin.v, farthest[start])
    state = replace(begin, v=v)
    train = torch.ones(32, 1, *plan.program.sources[source].shape, dtype=torch.int8)
    arriving = layer_.convolutions[0].weight.long().flatten(1).sum(1) << layer_.shift
    arriving = (arriving + layer_.bias[0].long()).view(-1, 1, 1)
    theta = layer_.theta.long().view(-1, 1, 1)
    engine = make_engine(backend, plan.program, plan.encoders.values())
    wanted, count = v.long(), torch.zeros(v.shape, dtype=torch.int64)
    for _ in range(2):
        given = Given({source: engine.pack(source, train)}, {}, 32, {layer_.name: state})
        want = Want(frozenset((layer_.name,)), frozenset(), True)
        fired = engine.run((layer_.name,), given, want)[layer_.name]
        assert fired.state is not None
        state = fired.state
        for emitted in engine.unpack(layer_.name, fired.spikes):
            wanted = wanted + arriving
            spike = (wanted >= theta).long()
            if signed:
                spike = spike - ((wanted < 0) & (count > 0)).long()
            assert torch.equal(emitted.long(), spike)
            assert wanted.abs().max() < 2**31
            wanted, count = wanted - theta * spike, count + spike
        assert torch.equal(state.v.long(), wanted)
    assert start != "silent" or not count.any()


def test_a_look_that_kernels_cannot_take_is_in_floating_point() -> None:
    snn = exact("strided", T=40)
    snn.timing = Timing(cos=33)
    (_, reason) = snn.fuse().report().paths.values()
    assert "COS looks at more than 32 steps at once" in reason
    x = images(shape_of("strided"), 2)
    with torch.no_grad():
        assert torch.equal(snn.fuse()(x), snn(x))
