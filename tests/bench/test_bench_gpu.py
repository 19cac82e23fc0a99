"""The benchmarks for a GPU, on a CPU: they run, check first, and go on where they ended."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

import gpu_contest
from gpu_contest import Entry
from spikeconv import convert
from spikeconv.fuse.gpu import TritonEngine
from tests.bench.gpu_runs import SMALL_NET
from tests.bench.gpu_runs import networks as networks
from tests.bench.gpu_runs import smoke as smoke


@pytest.fixture(scope="module")
def layers(load_script):
    return load_script("gpu_layers")


@pytest.fixture(scope="module")
def goals(load_script):
    return load_script("gpu_goals")


def test_layers_are_timed_beside_the_peak(layers, tmp_path, capsys):
    path = tmp_path / "layers.json"
    assert layers.main(["--device", "cpu", "--smoke", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    names = [row["name"] for row in result["rows"]]
    assert names == ["spikeconv-int8", "spikeconv-bf16", "cudnn-tf32", "cudnn-bf16"]
    peak = next(row for row in result["peaks"] if row["name"] == "matmul int8")
    shape = layers.Shape(8, 4, 2, 3, True, True)
    for row in result["rows"]:
        assert row["layer"] == str(shape)
        assert row["top_per_s"] == pytest.approx(shape.operations / row["ms"] / 1e9)
        assert row["peak_share"] == pytest.approx(row["top_per_s"] / peak["rate"])
    assert "spikeconv-int8" in capsys.readouterr().out


def test_a_wrong_layer_has_no_row_and_makes_the_run_fail(layers, monkeypatch, tmp_path, capfd):
    right = TritonEngine.unpack
    monkeypatch.setattr(TritonEngine, "unpack", lambda *given: right(*given) ^ 1)
    path = tmp_path / "layers.json"
    assert layers.main(["--device", "cpu", "--smoke", "--json", str(path)]) == 1
    result = json.loads(path.read_text())
    assert {row["name"] for row in result["rows"]} == {"cudnn-tf32", "cudnn-bf16"}
    assert "spikes differ from the reference's" in capfd.readouterr().err


def test_operations_of_a_layer_by_hand(layers):
    # 2 images of 3 x 3 pixels at 5 steps, each output 9 * 4 products and as many additions.
    assert layers.Shape(4, 3, 2, 5).operations == 2 * 9 * 5 * 4 * (9 * 4) * 2


def test_every_small_fused_case_agrees(load_script):
    fused = load_script("small_fused")
    for kind in ("plain", "groups", "pooled"):
        assert fused.agrees(torch.device("cpu"), kind, True, "int8")


def test_networks_are_timed_in_every_form(smoke):
    status, result = smoke("--rounds", "2")
    assert status == 0
    assert list(result["tables"]) == ["resnet20-2px-b2-T3", "resnet20-2px-b3-T3"]
    table = result["tables"]["resnet20-2px-b3-T3"]
    rows = {row["name"]: row for row in table["rows"]}
    assert {"ann", "ann-bf16", "ann-channels-last", "spikeconv", "torch-loop"} <= set(rows)
    for row in rows.values():
        assert row["images_per_s"] == pytest.approx(3 / row["ms"] * 1e3)
        assert row["times_ann"] == pytest.approx(row["ms"] / rows["ann"]["ms"])
    assert table["skipped"]["spikeconv-graph"] == "CUDA graphs need a GPU"
    assert not any(name.endswith("-compiled") for name in (*rows, *table["skipped"]))


def test_an_error_in_one_setting_leaves_the_others(smoke, networks, monkeypatch, capfd):
    measure = networks.measure

    def fails(ann, snn, setting, *more):
        if setting.batch == 2:
            raise RuntimeError("CUDA error: misaligned address")
        return measure(ann, snn, setting, *more)

    monkeypatch.setattr(networks, "measure", fails)
    status, result = smoke("--rounds", "1")
    assert status == 1
    first, second = result["tables"].values()
    assert first["error"] == "RuntimeError: CUDA error: misaligned address"
    assert first["rows"] == []
    assert second["rows"]
    assert "misaligned address" in capfd.readouterr().err


def test_who_is_wrong_or_too_large_is_named(smoke, networks, monkeypatch):
    def too_large(x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB")

    build = networks.build_contest

    def with_two_more(*given, **options):
        contest = build(*given, **options)
        contest.entries["large"] = Entry(too_large, "spiking")
        contest.entries["wrong"] = Entry(lambda x: -contest.snn(x), "spiking")
        return contest

    monkeypatch.setattr(networks, "build_contest", with_two_more)
    status, result = smoke("--rounds", "1")
    assert status == 1
    for table in result["tables"].values():
        assert table["skipped"]["large"].startswith("OutOfMemoryError: CUDA out of memory")
        assert list(table["refused"]) == ["wrong"]
        assert not {"large", "wrong"} & {row["name"] for row in table["rows"]}


def test_integers_must_be_their_definition(networks):
    snn = convert(SMALL_NET, torch.rand(64, 3, 2, 2), T=4, method="opi", progress=False)
    contest = gpu_contest.GpuContest(
        snn, {"ours": Entry(lambda x: snn(x) + 1, "int8")}, {"int8": snn}
    )
    x = torch.rand(4, 3, 2, 2)
    with torch.no_grad():
        right = gpu_contest.right_classes(contest, x)
        said = gpu_contest.verdict(contest, right, "ours", x, snn(x) + 1)
        assert said == "10 logits differ from their definition"
        contest.entries["ours"] = Entry(snn, "int8")
        assert gpu_contest.verdict(contest, right, "ours", x, snn(x)) is None


def test_the_settings_that_matter_most_come_first(networks):
    settings = networks.plan()
    assert str(settings[0]) == "resnet18-224px-b64-T16"
    assert str(settings[1]) == "resnet18-224px-b1-T16"
    assert {str(one) for one in settings[:8]} == {
        f"{model}-{size}px-b{batch}-T16" for model, size in networks.NETWORKS for batch in (64, 1)
    }
    every = {(s.model, s.batch, s.T, s.compiled) for s in settings}
    assert len(every) == len(settings) == 4 * 4 * 4 * 2
    assert {one.model for one in networks.plan(["vgg16"])} == {"vgg16"}


def test_goals_by_hand(goals, tmp_path, capsys):
    def scan(name, share, dtype="float32"):
        return {"name": name, "dtype": dtype, "emit": "spikes", "copy_share": share}

    def write(name, content):
        (tmp_path / name).write_text(json.dumps(content))

    write("kernels-T16-N4.json", {"rows": [scan("spikeconv-triton", 0.95), scan("clone", 1.0)]})
    write(
        "kernels-T4-N8.json",
        {"rows": [scan("spikeconv-triton", 0.8), scan("spikeconv-cuda", 0.92)]},
    )
    layer = {"channels": 128, "name": "spikeconv-int8", "layer": "128ch 28px b64 T16"}
    write("gpu-layers.json", {"rows": [{**layer, "peak_share": 0.4}]})
    rows = [("ann", 8.0), ("spikeconv-int8", 4.0), ("spikingjelly-default", 36.0)]
    main = {"rows": [{"name": name, "ms": ms} for name, ms in rows]}
    single = {"rows": [{"name": "spikeconv-int8-graph", "ms": 1.5}]}
    write("gpu-networks.json", {"tables": {goals.MAIN: main, goals.SINGLE: single}})
    found = {goal.goal: goal.row() for goal in goals.goals(tmp_path)}
    reached = [row["reached"] for row in found.values()]
    assert [row["found"] for row in found.values() if row["found"] is not None] == [
        0.92, 0.4, 2.0, 9.0, 1.5,
    ]  # fmt: skip
    assert reached == [
        "yes", "not measured", "not measured", "no", "not measured", "not measured",
        "yes", "no", "yes",
    ]  # fmt: skip
    assert goals.main([str(tmp_path)]) == 0
    assert "not measured" in capsys.readouterr().out


def test_goals_of_a_folder_that_is_not_there(goals, tmp_path, capsys):
    with pytest.raises(SystemExit):
        goals.main([str(tmp_path / "nothing")])
    assert "nothing is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["gpu_layers", "gpu_networks", "kernels", "throughput", "peaks"])
def test_without_a_gpu_the_device_is_refused(load_script, script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        load_script(script).main(["--device", "cuda", "--json", str(tmp_path / "f.json")])
    assert "--device: torch finds no CUDA GPU here; use --device cpu" in capsys.readouterr().err


def suite(bench, *arguments, **environment):
    command = ["bash", str(bench / "gpu_suite.sh"), *arguments]
    environment = {**os.environ, "PYTHON": sys.executable, **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_dry_run_of_the_suite(bench, tmp_path):
    steps = [part for step in ("build", "peaks", "goals") for part in ("--only", step)]
    run = suite(bench, "--dry-run", *steps, "--minutes", "4", str(tmp_path))
    assert run.returncode == 0, run.stdout + run.stderr
    summary = run.stdout[run.stdout.index("== summary") :].splitlines()[1:]
    assert [line.split()[:2] for line in summary] == [
        ["build", "skipped:"],
        ["peaks", "ok"],
        ["goals", "ok"],
    ]
    assert json.loads((tmp_path / "peaks.json").read_text())["rows"]
    assert "not measured" in (tmp_path / "logs" / "goals.log").read_text()


def test_a_step_that_fails_or_is_stopped_fails_the_suite(bench, tmp_path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\ncase $* in *goals*) exec sleep 60;; esac\nexit 7\n")
    script.chmod(0o755)
    steps = ["--only", "peaks", "--only", "goals", "--minutes", "0.1"]
    changes = {"PYTHON": str(script), "SECONDS_AT_LEAST": "1"}
    started = time.monotonic()
    run = suite(bench, "--dry-run", *steps, str(tmp_path / "out"), **changes)
    assert run.returncode == 1
    assert "FAILED (7)" in run.stdout
    assert "STOPPED after " in run.stdout
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "everything"], "--only wants one of: versions build"),
        (["--minutes", "0"], "--minutes wants a number above 0"),
        (["--minutes", "ten"], "--minutes wants a number above 0"),
        (["--minutes"], "--minutes wants a number above 0"),
        (["--fast"], "unknown option --fast"),
    ],
)
def test_wrong_options_of_the_suite(bench, arguments, says):
    run = suite(bench, *arguments)
    assert run.returncode == 2
    assert says in run.stderr
