"""Recording what neurons do: by hand, beside a monitor, and in a file that nobody can abuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import spikeconv
from spikeconv.convert import SpikingNetwork
from spikeconv.network.error_shares import KINDS, error_shares
from spikeconv.network.record import record
from spikeconv.network.recording import Recording, read_recording, write_recording
from spikeconv.network.timing import Timing
from tests.convert.bodies import NETWORKS
from tests.convert.nets import Net, converted, images


@pytest.fixture
def one_neuron() -> SpikingNetwork:
    """theta = 1, v_init = 1/2, current = image, T = 4."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    nn.init.ones_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    return converted(net, torch.tensor([[0.5], [1.0]]), T=4)


def test_by_hand(one_neuron: SpikingNetwork) -> None:
    """1 fires at every step; 0.625 from 1/2 at 1.125, then .75, 1.375, 1: three times; -1 never."""
    recording = record(one_neuron, torch.tensor([[1.0], [0.625], [-1.0]]))
    (layer,) = recording.layers
    assert (recording.T, recording.images, recording.before, recording.starts) == (4, 3, 0, (0,))
    assert (layer.layer, layer.shape, layer.neurons.tolist()) == ("1", (1,), [0])
    assert layer.spikes[:, :, 0].T.tolist() == [[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 0]]
    assert layer.v[:, 1, 0].tolist() == [0.125, 0.75, 0.375, 0]
    assert layer.v[:, 2, 0].tolist() == [-0.5, -1.5, -2.5, -3.5]
    assert (layer.v_threshold.tolist(), layer.v_init.tolist()) == ([1], [0.5])
    assert layer.activation.tolist() == [[1], [0.625], [0]]
    assert layer.fired.tolist() == [1, 0, 0, 1, 1]  # of 3 neurons, one never, one 3 times, one 4
    assert layer.shares["quantisation"] == 1  # 3/4 for 0.625


@pytest.mark.parametrize("timing", [Timing(), Timing(delay=2), Timing(srp=2), Timing(1, 2, 2)])
@pytest.mark.parametrize("signed", [False, True])
def test_net_counts_are_those_of_a_monitor(timing: Timing, signed: bool) -> None:
    for name in ("residual", "branches", "pool in time"):
        snn, x = converted(NETWORKS[name](), T=8, signed=signed), images(3)
        snn.timing = timing
        with snn.monitor(keep_counts=True) as monitor:
            wanted = snn(x)
        recording = record(snn, x)
        assert (recording.T, recording.before) == (8, timing.before)
        assert recording.starts == tuple(dict.fromkeys((0, timing.srp, timing.srp + timing.cos)))
        for step, layer in zip(snn.program.neurons(), recording.layers, strict=True):
            assert layer.layer == step.label
            count = layer.spikes[timing.before :].sum(0)
            assert torch.equal(count, monitor.counts[step.name].flatten(1)[:, layer.neurons].long())
            spikes, chances = monitor.totals()[step.name]
            assert (layer.fired * torch.arange(9)).sum() == spikes
            assert layer.fired.sum() * 8 == chances
        torch.testing.assert_close(snn(x), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("T", [6, 7, 9])
def test_cos_that_has_fewer_steps_to_look_at_than_it_spends(T: int, tmp_path: Path) -> None:
    """It looks at the T - 5 that are left, which then run: recorded are these, twice."""
    net, x = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.rand(2, 3)
    snn = converted(net, torch.rand(8, 3), T=T)
    snn.timing = Timing(cos=5)
    recording = record(snn, x)
    left = T - 5
    assert (recording.T, recording.before, recording.starts) == (2 * left, left, (0, left))
    (layer,) = recording.layers
    write_recording(tmp_path / "r.safetensors", recording)
    assert read_recording(tmp_path / "r.safetensors").starts == (0, left)
    # Reset by subtraction: potential plus what was fired grows by the current, but for the start.
    current = net[0](x)[:, layer.neurons]
    grows = layer.v + layer.v_threshold * layer.spikes - layer.v.roll(1, 0)
    steady = [t for t in range(1, recording.T) if t != left]
    torch.testing.assert_close(grows[steady], current.expand(len(steady), -1, -1).detach())
    with snn.monitor(keep_counts=True) as monitor:
        snn(x)
    (count,) = monitor.counts.values()
    assert torch.equal(layer.spikes[left:].sum(0), count[:, layer.neurons].long())


def test_what_is_recorded_of_a_fused_network() -> None:
    snn, x = converted(NETWORKS["plain"](), T=4), images(2)
    with pytest.warns(UserWarning, match="in floating point, as it was before fuse"):
        of_fused = record(snn.fuse(), x)
    for one, other in zip(of_fused.layers, record(snn, x).layers, strict=True):
        assert torch.equal(one.spikes, other.spikes)


def test_potentials_are_those_of_the_population() -> None:
    snn, x = converted(NETWORKS["plain"](), T=5, granularity="channel"), images(2)
    first = next(iter(snn.populations().values()))
    layer = record(snn, x).layers[0]
    spikes, v = first.run(next(iter(snn.layers.values()))(x), 5, emit="spikes", return_v="all")
    assert v is not None
    assert torch.equal(layer.v, v.flatten(2)[..., layer.neurons])
    assert torch.equal(layer.spikes, spikes.flatten(2)[..., layer.neurons].to(torch.int8))
    theta = first.v_threshold.expand(4, 8, 8).flatten()
    assert torch.equal(layer.v_threshold, theta[layer.neurons])


def test_a_recording_is_small() -> None:
    wide = nn.Sequential(nn.Linear(2, 5000), nn.ReLU(), nn.Linear(5000, 2))
    snn = converted(wide, torch.rand(4, 2), T=300)
    layer = record(snn, torch.rand(4, 2)).layers[0]
    assert layer.spikes.shape == (300, 4, 2**18 // 1200)
    assert layer.fired.sum() == 4 * 5000
    snn.T = 10
    assert record(snn, torch.rand(4, 2)).layers[0].spikes.shape == (10, 4, 256)
    snn.T = 5000
    with pytest.raises(ValueError, match="must have 4096 steps at most, got 5000"):
        record(snn, torch.rand(4, 2))
    with pytest.raises(ValueError, match="at least one, got none"):
        record(snn, torch.rand(0, 2))


def test_shares_are_there_where_they_are_defined() -> None:
    snn, x = converted(NETWORKS["plain"](), T=4), images(2)
    shares = error_shares(snn, x)
    assert {layer.layer: layer.shares for layer in record(snn, x).layers} == shares
    snn.timing = Timing(delay=1)
    assert not any(layer.shares for layer in record(snn, x).layers)
    after = Net(lambda s, x: s.head(torch.relu(s.c1(x))).softmax(1))
    kept = spikeconv.convert(after, images(8), T=4, analog=True, method="opi", progress=False)
    assert not any(layer.shares for layer in record(kept, x).layers)


def test_several_inputs() -> None:
    """A network of two inputs is recorded as one of the same inputs side by side."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c1 = nn.Conv2d(4, 4, 3)
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor, other: Tensor) -> Tensor:
            both = torch.cat([x, other], 1)
            return self.fc(torch.relu(self.c1(both)).mean((2, 3)))

    x, other = images(5), images(5)
    snn = converted(Both(), {"x": x, "other": other}, T=4)
    found = record(snn, (x, other))
    assert equal(found, record(snn, {"other": other, "x": x}))
    with snn.monitor(keep_counts=True) as monitor:
        snn(x, other)
    (layer,) = found.layers
    (counts,) = monitor.counts.values()
    assert torch.equal(layer.spikes.sum(0), counts.flatten(1)[:, layer.neurons].to(torch.int64))
    assert layer.shares["error"] > 0
    with pytest.raises(TypeError, match=r"got 1 of them; as one argument they are the tuple"):
        record(snn, x)


def test_an_ann_is_no_spiking_network() -> None:
    with pytest.raises(TypeError, match="record: snn must be a SpikingNetwork, got Linear"):
        record(nn.Linear(4, 2), images(2))  # type: ignore[arg-type]


def equal(a: Recording, b: Recording) -> bool:
    pairs = zip(a.layers, b.layers, strict=True)
    return (a.before, a.starts, a.evaluation) == (b.before, b.starts, b.evaluation) and all(
        (torch.equal(getattr(x, field), value) if isinstance(value, Tensor) else
         getattr(x, field) == value)
        for x, y in pairs
        for field, value in vars(y).items()
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Recording]:
    snn, x = converted(NETWORKS["branches"](), T=4, signed=True, srp=1, delay=1), images(3)
    recording = record(snn, x, {"ann": 0.5, "snn": [0.1, 0.2, 0.3, 0.4]})
    write_recording(tmp_path / "run.safetensors", recording)
    return tmp_path / "run.safetensors", recording


def test_a_file_needs_its_library(
    saved: tuple[Path, Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, recording = saved
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (lambda: write_recording(path, recording), lambda: read_recording(path)):
        with pytest.raises(ImportError, match=r"run\.safetensors: .* pip install safetensors"):
            call()


def test_a_file_gives_what_was_written(saved: tuple[Path, Recording]) -> None:
    path, recording = saved
    assert equal(read_recording(path), recording)
    assert recording.labels() == [layer.layer for layer in recording.chosen(recording.labels())]
    with pytest.raises(
        ValueError, match=r"no layer 'conv' was recorded; there are relu, relu \(2\)"
    ):
        recording.chosen(["relu", "conv"])


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> Path:
    """The same file with another description or other tensors."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["spikeconv_recording"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(about, tensors)
    save_file(tensors, path, {"spikeconv_recording": json.dumps(about)})
    return path


Change = Callable[[dict[str, Any], dict[str, Tensor]], object]

HOSTILE: dict[str, tuple[Change, str]] = {
    "a later version": (lambda a, t: a.update(version=2), "version 2, and this spikeconv reads 1"),
    "no version": (lambda a, t: a.pop("version"), "'version' is missing"),
    "no layers": (lambda a, t: a.update(layers=[]), "must hold 1 to 512 layers"),
    "too many layers": (
        lambda a, t: a.update(layers=a["layers"] * 300), "must hold 1 to 512 layers"
    ),
    "layers of another kind": (lambda a, t: a.update(layers={"0": 1}), "must hold 1 to 512 layers"),
    "a layer without tensors": (
        lambda a, t: a["layers"].append(a["layers"][0]), "'2.neurons' is missing"
    ),
    "a layer that is a number": (lambda a, t: a.update(layers=[1]), "wanted a recording"),
    "a name that is a number": (lambda a, t: a["layers"][0].update(layer=1), "must be text, got 1"),
    "one name twice": (
        lambda a, t: a["layers"][1].update(layer=a["layers"][0]["layer"]), "have one name"
    ),
    "a size of minus one": (lambda a, t: a["layers"][0].update(shape=[-1, 4]), "sizes above 0"),
    "another shape": (lambda a, t: a["layers"][0].update(shape=[2]), "must be among its 2"),
    "potentials of no number": (lambda a, t: t["0.v"].fill_(torch.nan), "holds NaN or infinity"),
    "another dtype": (
        lambda a, t: t.update({"0.v": t["0.v"].double()}), "torch.float32, got torch.float64"
    ),
    "fewer images": (lambda a, t: t.update({"0.v": t["0.v"][:, :1].clone()}), "must be (4, 3"),
    "no step": (
        lambda a, t: t.update({"0.spikes": t["0.spikes"][:0].clone()}), "[T, B, N] and not empty"
    ),
    "spikes of two": (lambda a, t: t["0.spikes"].fill_(2), "must be -1, 0 or 1"),
    "a neuron that is not there": (lambda a, t: t["0.neurons"].fill_(9999), "must be among its"),
    "a threshold of 0": (lambda a, t: t["0.v_threshold"].zero_(), "must be above 0"),
    "counts of too many": (lambda a, t: t["0.fired"].add_(1), "must count its neurons"),
    "a share below 0": (
        lambda a, t: a["layers"][0].update(shares=dict.fromkeys((*KINDS, "error"), -1)),
        "must be in 0..1.001, got -1",
    ),
    "half of the shares": (
        lambda a, t: a["layers"][0].update(shares={"error": 1}), "the error and its parts, or none"
    ),
    "a start after the end": (lambda a, t: a.update(starts=[0, 99]), "must be in 0..4"),
    "a start in words": (lambda a, t: a.update(before="now"), "must be in 0..4, got 'now'"),
    "an evaluation of another kind": (lambda a, t: a.update(evaluation=[]), "must be an object"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_wrong_file_is_one_clear_error(saved: tuple[Path, Recording], what: str) -> None:
    change, message = HOSTILE[what]
    path = changed(saved[0], change)
    with pytest.raises(ValueError) as caught:
        read_recording(path)
    assert str(caught.value).startswith(
        f"{path}: wanted a recording of spikeconv evaluate --record"
    )
    assert message in str(caught.value)


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(FileNotFoundError, match="wanted a recording, found no file"):
        read_recording(path)
    with pytest.raises(FileNotFoundError, match="found no file"):
        read_recording(tmp_path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"found another \.safetensors file"):
        read_recording(path)
    for content in (b"", b"not a file of tensors", b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="found something else or a damaged one"):
            read_recording(path)
    for text in ("{", "[" * 100_000):
        save_file({"weight": torch.zeros(2)}, path, {"spikeconv_recording": text})
        with pytest.raises(ValueError, match="found something else or a damaged one"):
            read_recording(path)
    monkeypatch.setattr(sys.modules[read_recording.__module__], "_LARGEST_FILE", 10)
    with pytest.raises(ValueError, match="more than a gigabyte"):
        read_recording(path)
