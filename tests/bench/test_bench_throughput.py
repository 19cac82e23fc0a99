"""bench/throughput.py: its JSON, its networks, and the red gate."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import contestants
import cpu_goals
import rival_networks
from contestants import Contest
from gate import Contestant
from network_rows import rows_of
from networks import Images, build_network
from spikeconv import IFNode, convert
from spikeconv.models import build_model
from timing import Times

NAMES = [
    "spikeconv",
    "spikeconv-int8",
    "spikeconv-int16",
    "spikeconv-int24",
    "torch-loop",
    "torch-loop-compiled",
    "spikingjelly",
    "spikingjelly-compiled",
    "convolutions",
    "ann",
]
SMALL = ["--smoke", "--image-size", "8", "--model", "resnet20"]


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


def test_what_is_given_holds_in_a_smoke_run_too(throughput):
    given = throughput._parse(["--smoke", "--T", "4", "--rounds", "5"])
    assert (given.T, given.rounds, given.batch, given.check_images) == (4, 5, 2, 2)
    assert throughput._parse([]).T == 16


def test_smoke_run_writes_the_promised_rows(smoke_run):
    written, run = smoke_run("throughput", *SMALL)
    (result,) = written["tables"]
    assert result["refused"] == {}
    present = [name for name in NAMES if name not in result["skipped"]]
    assert [row["name"] for row in result["rows"]] == present
    assert {"spikeconv", "spikeconv-int8", "torch-loop", "ann"} <= set(present)
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

    monkeypatch.setattr(contestants, "rival_networks", with_a_wrong_one)
    path = tmp_path / "throughput.json"
    assert throughput.main([*SMALL, "--json", str(path)]) == 1
    (result,) = json.loads(path.read_text())["tables"]
    assert list(result["refused"]) == ["torch-loop"]
    assert "torch-loop" not in {row["name"] for row in result["rows"]}
    assert "WRONG RESULT, not timed: torch-loop: same class for" in capfd.readouterr().err


def test_the_usual_run_forces_instruction_sets_judges_goals_and_draws_curves(
    throughput, tmp_path, capfd
):
    path = tmp_path / "throughput.json"
    assert throughput.main(["--smoke", "--image-size", "8", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    said = {"T": 3, "rounds": 2, "check_images": 2, "calibration_images": 8, "smoke": True}
    assert said.items() <= result["options"].items()
    settings = [found["setting"] for found in result["tables"][1:]]
    forced = [(setting["isa"], setting["torch_isa"]) for setting in settings]
    assert forced == throughput.forced_instruction_sets()
    for found in result["tables"][1:]:
        assert [row["name"] for row in found["rows"]] == ["spikeconv-int8", "convolutions", "ann"]
    assert len(result["goals"]) == len(cpu_goals.GOALS)
    assert {name: list(curve) for name, curve in result["curves"].items()} == {
        "T": ["1", "2"],
        "batch": ["1", "2"],
    }
    assert path.with_suffix(".svg").read_text().startswith("<?xml")
    assert "cost of an image, by batch" in capfd.readouterr().out


def test_a_wrong_layer_makes_the_usual_run_fail(throughput, monkeypatch, capfd):
    monkeypatch.setattr(throughput, "forced_instruction_sets", list)
    monkeypatch.setattr(throughput, "curves", lambda options, device: {})
    train = throughput.integer._train
    monkeypatch.setattr(throughput.integer, "_train", lambda *given: 1 - train(*given))
    assert throughput.main(["--smoke", "--image-size", "8"]) == 1
    error = capfd.readouterr().err
    assert "WRONG RESULT" in error
    assert "differs from the definition in" in error


def test_a_network_in_integers_is_held_against_its_definition(snn):
    def other(x):
        logits = snn(x)
        logits[0, 0] += 1e-6
        return logits

    fused = snn.fuse()
    networks = {"spikeconv-int8": fused, "spikeconv-int16": other}
    definitions = {"spikeconv-int8": snn.fuse(backend="reference"), "spikeconv-int16": snn}
    with torch.no_grad():
        found = Contest(snn, networks, definitions, {})
        gate = contestants.admit(found, [torch.rand(4, 3, 2, 2)])
    assert [contestant.name for contestant in gate.admitted] == ["spikeconv-int8"]
    assert gate.refused == {"spikeconv-int16": "1 logits differ from their definition"}


def test_goals_are_ratios_within_one_table():
    def found(threads, isa=None, torch_isa=None, **ms):
        rows = [{"name": name.replace("_", "-"), "ms": value} for name, value in ms.items()]
        held = {"isa": isa, "torch_isa": torch_isa}
        return {
            "setting": {"model": "resnet20", "batch": 64, "threads": threads} | held,
            "rows": rows,
        }

    tables = [
        found(1, spikeconv_int8=1.0, ann=9.0, spikingjelly=90.0),
        found(2, spikeconv_int8=2.0, ann=1.0, spikingjelly=80.0),
        found(1, "avx2", spikeconv_int8=1.0, convolutions=2.5),
        found(1, "avx2", "avx2", spikeconv_int8=1.0, convolutions=5.0),
    ]
    judged = {row["goal"]: row for row in cpu_goals.judge(tables)}
    first, second, third, *rest = judged.values()
    assert (first["ratio"], first["reached"]) == (0.5, False)  # of the most threads
    assert (second["ratio"], second["reached"]) == (40.0, True)
    assert (third["ratio"], third["reached"]) == (None, None)  # nobody measured it
    ratios = [row["ratio"] for row in rest if row["ratio"] is not None]
    assert ratios == [2.5, 5.0]  # the same kernels, torch with all it has and held to AVX2


def test_convolutions_are_those_of_every_step():
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Conv2d(5, 6, 2), nn.ReLU()
    )
    snn = convert(body, torch.rand(4, 3, 8, 8), T=4, method="opi", progress=False)
    layers = contestants.temporal_layers(snn)
    assert [shape for _, shape in layers] == [(4, 6, 6), (5, 4, 4)]  # the stem is not one of them
    with torch.no_grad():
        out = contestants.convolve_all_steps(snn, torch.rand(2, 3, 8, 8), layers=layers, T=4)
    assert out.shape == (8, 6, 3, 3)


def test_a_thousandth_of_the_images_may_differ_and_no_more(ann, snn):
    def network_that_misses(count):
        def network(x):
            logits = snn(x)
            logits[:count] = -logits[:count]
            return logits

        return network

    images = torch.rand(1000, 3, 2, 2)
    with torch.no_grad():
        rivals = {"one": network_that_misses(1), "two": network_that_misses(2)}
        gate = contestants.admit(Contest(snn, {**rivals, "ann": ann}, {}, {}), [images])
    assert [contestant.name for contestant in gate.admitted] == ["one", "ann"]
    assert gate.refused == {"two": "same class for 99.80% of 1000 images, wanted 99.9%"}


def test_a_head_may_round_otherwise_in_a_batch_and_no_spike_may_differ():
    alone = torch.tensor([[1.0, -5.0, 2.5]])
    assert contestants.differing_in_batch(alone * (1 + 1e-6), alone) is None
    spike_more = alone + torch.tensor([[0.0, 0.0, 1e-4]])  # of 1,024, of a weight of a tenth
    assert "1 logits of images in a batch" in contestants.differing_in_batch(spike_more, alone)
    assert "3 logits" in contestants.differing_in_batch(torch.full((1, 3), torch.nan), alone)


def test_the_only_image_must_be_right():
    assert contestants.too_many(1, 1, 0.95) == "same class for 0.00% of 1 images, wanted 95.0%"
    assert contestants.too_many(0, 1, 0.95) is None
    assert contestants.too_many(1, 2, 0.95) is None
    assert contestants.too_many(4, 64, 0.95) is not None


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


@pytest.mark.parametrize(
    ("name", "neurons"), (("preact14", 13), ("mobilenet_v2", 35), ("mnasnet1_0", 35))
)
def test_networks_of_others_are_fitted_and_converted(name, neurons):
    ann = build_network(name, 32)
    images, labels = Images(32).draw(50, seed=3)
    with torch.no_grad():
        assert (ann(images).argmax(1) == labels).float().mean() > 0.9
    assert len(convert(ann, images, T=2, method="opi", progress=False).neurons) == neurons
    with pytest.raises(ValueError, match=f"wanted one of resnet20, .* as --model, got {name}"):
        build_network(name, 32, Path("weights.pt"))


def test_rows_are_in_units_of_the_ann():
    times = {"spikeconv": Times(0.5, 0.4, 0.6, 3), "ann": Times(0.25, 0.2, 0.3, 3)}
    rows = rows_of(times, {"spikeconv": 3.0, "ann": None}, batch=10)
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
    assert rows_of(times, {"spikeconv": 3.0}, batch=10)[0]["times_ann"] is None


def test_gate_takes_compiled_networks_that_fail_as_missing(snn):
    def no_compiler(x):
        raise RuntimeError("no C++ compiler")

    images = torch.rand(2, 3, 2, 2)
    with torch.no_grad():
        gate = contestants.admit(
            Contest(snn, {"torch-loop-compiled": no_compiler}, {}, {}), [images]
        )
        assert gate.skipped == {"torch-loop-compiled": "RuntimeError: no C++ compiler"}
        with pytest.raises(RuntimeError, match=r"no C\+\+ compiler"):
            contestants.admit(Contest(snn, {"torch-loop": no_compiler}, {}, {}), [images])
    assert Contestant("ann", lambda: images).key == "ann"
