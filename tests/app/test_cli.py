"""The command line: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import spikeconv
from spikeconv.cli import main
from spikeconv.models import build_model
from spikeconv.models.weights import Weights, write_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a small, untrained CIFAR network."""
    torch.manual_seed(0)
    path = tmp_path / "weights.pt"
    torch.save(build_model("resnet8", widths=(4, 4, 8)).state_dict(), path)
    return path


def evaluate(weights: Path, *more: str) -> list[str]:
    words = ["evaluate", "--model", "resnet8", "--weights", str(weights), "--dataset", "cifar10"]
    return [*words, "--data", str(weights.parent), "--calibration-images", "20", "--T", "5", *more]


def test_info_names_versions_and_backends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    alone = capsys.readouterr().out
    assert main(["info"]) == 0
    assert capsys.readouterr().out == alone
    assert f"spikeconv    {spikeconv.__version__}" in alone
    assert f"torch        {torch.__version__}" in alone
    for name, reason in spikeconv.backends().items():
        line = next(
            line for line in alone.splitlines() if line.split()[:1] == [name] and "run" in line
        )
        assert ("cannot run: " in line) == (reason is not None)


def test_the_module_is_the_same_command() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "spikeconv"], capture_output=True, text=True, check=True
    )
    assert "backends" in run.stdout and run.stderr == ""


@pytest.mark.usefixtures("cifar10_pixels")
def test_evaluate_prints_a_table_and_writes_json_and_plot(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, plot = tmp_path / "result.json", tmp_path / "plot.png"
    assert main(evaluate(weights, "--json", str(result), "--plot", str(plot), "--signed")) == 0
    out = capsys.readouterr().out
    content = json.loads(result.read_text())
    assert (len(content["snn"]), content["images"], content["T"]) == (5, 20, 5)
    assert content["settings"] == {
        "model": "resnet8",
        "weights": "weights.pt",
        "dataset": "cifar10",
        "T": [5],
        "threshold": None,
        "percentile": None,
        "headroom": None,
        "granularity": "channel",
        "v_init": "half",
        "method": "best",
        "corrections": None,
        "signed": True,
        "fuse": None,
        "srp": 0,
        "cos": 0,
        "delay": 0,
        "calibration_images": 20,
        "seed": 0,
        "mean": None,
        "std": None,
        "batch": 100,
        "device": "cpu",
    }
    assert plot.read_bytes().startswith(b"\x89PNG")
    for text in ("resnet8 (CIFAR stem", "20 of 20 test images", "ANN", "T = 4", "T = 5", "firing"):
        assert text in out
    assert f"{content['snn'][4]:.2%}" in out
    chosen = content["chosen_for_each_T"]["5"]
    assert (chosen["threshold"], chosen["signed"]) == ("mse", True)
    assert len(chosen["tried"]) == 3
    assert "on calibration images held out from corrections, the first was kept" in out
    for one in chosen["tried"]:
        assert f"{one['error']:.3f}  {one['method']}" in out


@pytest.mark.usefixtures("cifar10_pixels")
def test_several_T_are_converted_for_each(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, plot = tmp_path / "result.json", tmp_path / "plot.svg"
    files = ["--json", str(result), "--plot", str(plot)]
    assert main(evaluate(weights, "--T", "6", "2", "6", *files)) == 0
    several = json.loads(result.read_text())
    assert main(evaluate(weights, "--T", "2", "--json", str(result))) == 0
    alone = json.loads(result.read_text())
    assert (several["T"], len(several["snn"]), several["settings"]["T"]) == (6, 6, [2, 6])
    assert several["converted_for_each_T"] == {"2": alone["snn"][1], "6": several["snn"][5]}
    out = capsys.readouterr().out
    assert "converted for T = 2" in out and "converted for each T: " in out
    assert plot.read_text().startswith("<?xml")


@pytest.mark.usefixtures("cifar10_pixels")
def test_every_choice_of_calibration_reaches_conversion(weights: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    chosen = ["--threshold", "percentile", "--percentile", "99", "--granularity", "layer"]
    more = ["--v-init", "0.25", "--limit", "7", "--batch", "3", "--json", str(result)]
    more += ["--headroom", "0.5"]
    assert main(evaluate(weights, *chosen, *more)) == 0
    content = json.loads(result.read_text())
    settings = content["settings"]
    assert content["images"] == 7
    assert (settings["threshold"], settings["percentile"]) == ("percentile", 99.0)
    assert (settings["granularity"], settings["v_init"]) == ("layer", 0.25)
    (chosen,) = content["chosen_for_each_T"].values()
    assert chosen["headroom"] == settings["headroom"] == 0.5


@pytest.mark.usefixtures("cifar10_pixels")
def test_method_corrections_and_timing_reach_conversion(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is given is not tried; the seed draws what is random."""
    result = tmp_path / "result.json"

    def run(*more: str) -> dict[str, Any]:
        assert main(evaluate(weights, "--T", "6", "--json", str(result), *more)) == 0
        return json.loads(result.read_text())

    given = ["--corrections", "bias,search", "--v-init", "uniform", "--seed", "3"]
    content = run(*given, "--srp", "1", "--cos", "2", "--delay", "1")
    assert content["timing"] == {"delay": 1, "srp": 1, "cos": 2, "before_readout": 4}
    assert content["settings"]["corrections"] == ["bias", "search"]
    assert content["chosen_for_each_T"] == {
        "6": {
            "threshold": "mse",
            "granularity": "channel",
            "v_init": "uniform, seed 3",
            "corrections": "bias+search",
            "signed": False,
            "calibration_images": 20,
            "delay": 1,
            "srp": 1,
            "cos": 2,
            "tried": [],
        }
    }
    assert "corrections=bias+search" in capsys.readouterr().out
    assert run("--method", "opi")["chosen_for_each_T"]["6"]["corrections"] == "none"
    none = run("--corrections", "none")
    assert (none["settings"]["corrections"], none["chosen_for_each_T"]["6"]["tried"]) == ([], [])


def test_digits_need_no_folder(tmp_path: Path) -> None:
    weights, result = tmp_path / "weights.pt", tmp_path / "result.json"
    torch.save(build_model("resnet8", in_channels=1, widths=(4, 4, 8)).state_dict(), weights)
    words = ["evaluate", "--model", "resnet8", "--weights", str(weights), "--dataset", "digits"]
    assert main([*words, "--T", "2", "--limit", "50", "--json", str(result)]) == 0
    assert json.loads(result.read_text())["images"] == 50


def refused(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    """Run a command that must fail as a user's error; return its one line."""
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("spikeconv: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.usefixtures("cifar10_pixels")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--weights", "none.pt"], "none.pt: wanted a file of weights"),
        (["--weights", __file__], "test_cli.py: wanted a checkpoint"),
        (["--model", "resnet20"], "wanted weights of resnet20, found those of resnet8"),
        (["--model", "resnet21"], "must be one of resnet20"),
        (["--pooling", "avg"], "ResNetConfig: the CIFAR stem has no pooling"),
        (["--data", "/none"], "looked in /none, which is no folder"),
        (["--dataset", "cifar100"], "wanted the folder cifar-100-python"),
        (["--dataset", "digits"], "wanted a network for digits (1 input channels, 10 classes)"),
        (["--calibration-images", "21"], "must be at most 20, the training images"),
        (["--json", "/none/result.json"], "the folder /none does not exist"),
        (["--plot", "plot.gif"], "must end with .png or .svg"),
        (["--record", "run.npz"], "must end with .safetensors"),
        (["--mean", "0.5"], "needs 3 finite numbers as mean"),
    ],
    ids=lambda value: value[0].removeprefix("--") if isinstance(value, list) else "",
)
def test_a_users_error_is_one_line_and_exit_code_2(
    weights: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert message in refused(capsys, evaluate(weights, *more))


def test_a_gpu_that_is_not_there(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "finds no CUDA GPU here" in refused(capsys, evaluate(weights, "--device", "cuda"))


@pytest.mark.usefixtures("cifar10_pixels")
@pytest.mark.parametrize("options", [{"num_classes": 7}, {"num_classes": 10, "in_channels": 1}])
def test_other_classes_or_channels_than_the_dataset_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, int]
) -> None:
    about = {"mean": [0.5] * options.get("in_channels", 3)}
    path = tmp_path / "own.safetensors"
    write_weights(path, Weights(build_model("resnet8", **options).state_dict(), about))
    line = refused(capsys, evaluate(path))
    assert "wanted a network for cifar10 (3 input channels, 10 classes), found resnet8" in line


@pytest.mark.parametrize(
    ("package", "more"),
    [("matplotlib", ["--plot", "plot.png"]), ("torchvision", ["--dataset", "folder"])],
)
def test_a_missing_package_is_named(
    weights: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    more: list[str],
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    line = refused(capsys, evaluate(weights, *more))
    assert f"needs {package}: pip install {package}" in line


@pytest.mark.parametrize("option", ["--record", "--save"])
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    path = weights.parent / "run.safetensors"
    line = refused(capsys, evaluate(weights, "--data", "/none", option, str(path)))
    assert f"{path}: a .safetensors file needs safetensors: pip install safetensors" in line


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--T", "0"], "wanted a whole number of 1 or more, got '0'"),
        (["--T", "many"], "wanted a whole number of 1 or more, got 'many'"),
        (["--v-init", "nan"], "wanted zero, half, uniform, gaussian or a number, got 'nan'"),
        (["--std", "1,b"], "wanted numbers with commas between them, got '1,b'"),
        (["--threshold", "median"], "invalid choice: 'median'"),
        (["--method", "fast"], "invalid choice: 'fast'"),
        (["--corrections", "bias,all"], "wanted none, or some of rts, bias, potential, "),
        (["--srp", "-1"], "wanted a whole number of 0 or more, got '-1'"),
    ],
)
def test_arguments_are_checked_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(evaluate(Path("weights.pt"), *more))
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_optional_packages_are_imported_only_when_needed() -> None:
    optional = ("torchvision", "sklearn", "matplotlib", "safetensors", "triton")
    script = f"""
import sys
sys.modules.update(dict.fromkeys({optional}))
import spikeconv.models, spikeconv.data, spikeconv.plot, spikeconv.demo, spikeconv.cli
raise SystemExit(spikeconv.cli.main(["info"]))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert "reference  can run" in run.stdout


@pytest.mark.usefixtures("cifar10_pixels")
def test_networks_in_integers_are_measured_and_saved(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, saved = tmp_path / "result.json", tmp_path / "snn.safetensors"
    words = evaluate(weights, "--fuse", "int16", "--json", str(result), "--save", str(saved))
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.count("  int16\n") == 6  # all but the first, which is told with its reason
    assert "float: its current is the same at every step" in out
    assert json.loads(result.read_text())["settings"]["fuse"] == "int16"
    again = spikeconv.load(saved)
    assert again.T == 5
    assert again.integers is not None
    assert again.integers.precision == "int16"
