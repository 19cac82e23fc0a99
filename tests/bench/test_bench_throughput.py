"""bench/throughput.py: its JSON, its networks, and the red gate."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import rival_networks
from gate import Contestant
from networks import Images, build_network
from spikeconv import IFNode, convert
from spikeconv.models import build_model
from timing import Times

NAMES = [
    "spikeconv",
    "torch-loop",
    "torch-loop-compiled",
    "spikingjelly",
    "spikingjelly-compiled",
    "ann",
]
SMALL = ["--smoke", "--image-size", "8"]


@pytest.fixture(scope="module")
def throughput(load_script):
    return load_script("throughput")


@pytest.fixture(scope="module")
def ann():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5))


@pytest.fixture(scope="module")
def snn(ann):
    return convert(ann, torch.rand(64, 3, 2, 2), T=4, method="opi", progress=False)


@pytest.fixture
def population():
    """Currents [T, B, C, H, W] and a node with thresholds per channel."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, 5, 3, 3, generator=generator) * 0.5 + 0.3
    theta = torch.rand(5, 1, 1, generator=generator) + 0.5
    return x, IFNode(theta, theta / 2, emit="psp")


def test_smoke_run_writes_the_promised_rows(bench, tmp_path):
    path = tmp_path / "throughput.json"
    command = [sys.executable, str(bench / "throughput.py"), *SMALL, "--json", str(path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(path.read_text())
    assert result["refused"] == {}
    present = [name for name in NAMES if name not in result["skipped"]]
    assert [row["name"] for row in result["rows"]] == present
    assert {"spikeconv", "torch-loop", "ann"} <= set(present)
    for row in result["rows"]:
        assert row["images_per_s"] == pytest.approx(result["setting"]["batch"] / row["ms"] * 1e3)
        assert row["q25"] <= row["ms"] <= row["q75"]
        assert row["name"] in run.stdout
    for name, reason in result["skipped"].items():
        assert f"not timed: {name}: {reason}" in run.stderr


def test_wrong_network_has_no_row_and_makes_the_run_fail(throughput, monkeypatch, tmp_path, capfd):
    class Opposite(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return -self.network(x)

    def with_a_wrong_one(snn, compiler):
        networks, skipped = rival_networks.rival_networks(snn, compiler)
        return networks | {"torch-loop": Opposite(networks["torch-loop"])}, skipped

    monkeypatch.setattr(throughput, "rival_networks", with_a_wrong_one)
    path = tmp_path / "throughput.json"
    assert throughput.main([*SMALL, "--json", str(path)]) == 1
    result = json.loads(path.read_text())
    assert list(result["refused"]) == ["torch-loop"]
    assert "torch-loop" not in {row["name"] for row in result["rows"]}
    assert "WRONG RESULT, not timed: torch-loop: same class for" in capfd.readouterr().err


def test_a_thousandth_of_the_images_may_differ_and_no_more(throughput, ann, snn):
    def network_that_misses(count):
        def network(x):
            logits = snn(x)
            logits[:count] = -logits[:count]
            return logits

        return network

    images = torch.rand(1000, 3, 2, 2)
    with torch.no_grad():
        rivals = {"one": network_that_misses(1), "two": network_that_misses(2)}
        gate = throughput.admit({**rivals, "ann": ann}, snn, [images])
    assert [contestant.name for contestant in gate.admitted] == ["one", "ann"]
    assert gate.refused == {"two": "same class for 99.80% of 1000 images, wanted 99.9%"}


def test_step_neuron_equals_ours_and_forgets_on_reset(population):
    x, node = population
    neuron = rival_networks.StepNeuron(node)
    for _ in range(2):
        neuron.reset()
        assert torch.equal(torch.stack([neuron(current) for current in x]), node(x))


@pytest.mark.parametrize("per_channel", [True, False])
def test_torch_population_equals_ours(population, per_channel):
    x, node = population
    node = node if per_channel else IFNode(0.7, 0.35, emit="psp")
    found = rival_networks.torch_population(x, node.v_threshold, node.v_init)
    assert torch.equal(found, node(x))


@pytest.mark.spikingjelly
@pytest.mark.parametrize("per_channel", [True, False])
def test_spikingjelly_population_equals_ours(population, per_channel):
    x, node = population
    node = node if per_channel else IFNode(0.7, 0.35, emit="psp")
    with torch.no_grad():
        found = rival_networks.spikingjelly_population(x, node.v_threshold, node.v_init)
    assert torch.equal(found, node(x))
    flat = x.flatten(2)[..., :5]
    linear = IFNode(node.v_threshold.flatten() if per_channel else 0.7, 0.2, emit="psp")
    with torch.no_grad():
        found = rival_networks.spikingjelly_population(flat, linear.v_threshold, linear.v_init)
    assert torch.equal(found, linear(flat))


def test_without_spikingjelly_its_rows_are_skipped_with_the_reason(snn, monkeypatch):
    monkeypatch.setattr(rival_networks, "spikingjelly_missing", lambda: "not there")
    networks, skipped = rival_networks.rival_networks(snn, "aot_eager")
    assert list(networks) == ["torch-loop", "torch-loop-compiled"]
    assert skipped == {"spikingjelly": "not there", "spikingjelly-compiled": "not there"}


def test_networks_are_the_same_each_time_and_know_their_classes():
    ann, again = (build_network("resnet20", 16) for _ in range(2))
    for mine, other in zip(ann.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(mine, other)
    images, labels = Images(16).draw(50, seed=3)
    with torch.no_grad():
        assert (ann(images).argmax(1) == labels).float().mean() > 0.9
    assert images.mean().abs() < 0.2
    assert 0.5 < images.std() < 2


def test_weights_of_a_file_are_taken(tmp_path):
    weights = build_model("resnet20", num_classes=7).state_dict()
    torch.save(weights, tmp_path / "weights.pt")
    loaded = build_network("resnet20", 32, tmp_path / "weights.pt")
    assert torch.equal(loaded.fc.bias, weights["fc.bias"])
    assert not loaded.training


def test_rows_are_in_units_of_the_ann(throughput):
    times = {"spikeconv": Times(0.5, 0.4, 0.6, 3), "ann": Times(0.25, 0.2, 0.3, 3)}
    rows = throughput.rows_of(times, {"spikeconv": 3.0, "ann": None}, batch=10)
    assert rows[0] == {
        "name": "spikeconv",
        "images_per_s": 20.0,
        "ms": 500.0,
        "q25": 400.0,
        "q75": 600.0,
        "times_ann": 2.0,
        "peak_mb": 3.0,
    }
    assert rows[1]["peak_mb"] is None
    del times["ann"]
    assert throughput.rows_of(times, {"spikeconv": 3.0}, batch=10)[0]["times_ann"] is None


def test_gate_takes_compiled_networks_that_fail_as_missing(throughput, snn):
    def no_compiler(x):
        raise RuntimeError("no C++ compiler")

    images = torch.rand(2, 3, 2, 2)
    with torch.no_grad():
        gate = throughput.admit({"torch-loop-compiled": no_compiler}, snn, [images])
        assert gate.skipped == {"torch-loop-compiled": "RuntimeError: no C++ compiler"}
        with pytest.raises(RuntimeError, match=r"no C\+\+ compiler"):
            throughput.admit({"torch-loop": no_compiler}, snn, [images])
    assert Contestant("ann", lambda: images).key == "ann"
