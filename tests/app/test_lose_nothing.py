"""No command writes over what it reads, over another of its outputs, or over a run's weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spikeconv.cli import main
from spikeconv.models import build_model
from spikeconv.models.weights import Weights, write_weights
from spikeconv.output import check_apart


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small network for digits."""
    path = tmp_path / "w.safetensors"
    model = build_model("resnet8", widths=(4, 4, 8), num_classes=10, in_channels=1)
    write_weights(path, Weights(model.state_dict()))
    return path


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    line = capsys.readouterr().err
    assert line.startswith("spikeconv: ") and line.count("\n") == 1
    return line


def test_files_apart(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    check_apart({"--save": a, "--json": None, "--plot": b}, {"--weights": tmp_path / "c"})
    with pytest.raises(ValueError, match=r"--json and --weights are the same file, .*a, of which"):
        check_apart({"--json": a}, {"--weights": tmp_path / "x" / ".." / "a"})
    with pytest.raises(ValueError, match="--plot and --save are the same file"):
        check_apart({"--save": a, "--plot": str(a)}, {})


@pytest.mark.parametrize("option", ["--save", "--json", "--record"])
def test_evaluate_does_not_write_over_its_weights(
    weights: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights.read_bytes()
    words = ["evaluate", "--weights", str(weights), "--dataset", "digits", option, str(weights)]
    assert f"{option} and --weights are the same file" in refused(words, capsys)
    assert weights.read_bytes() == before


def test_evaluate_writes_no_two_files_of_one_name(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = ["--save", str(tmp_path / "o.safetensors"), "--record", str(tmp_path / "o.safetensors")]
    words = ["evaluate", "--weights", str(weights), "--dataset", "digits", *twice]
    assert "--save and --record are the same file" in refused(words, capsys)


def test_compact_does_not_write_over_its_input(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights.read_bytes()
    said = refused(["compact", str(weights), "--out", str(weights)], capsys)
    assert "--out and FILE are the same file" in said
    assert weights.read_bytes() == before


def train(out: Path, *more: str) -> list[str]:
    short = ["--limit", "64", "--batch", "32", "--epochs", "1", "--out", str(out)]
    return ["train", "--model", "resnet8", "--dataset", "digits", *short, *more]


@pytest.mark.parametrize(
    ("starts_there", "message"),
    [
        (True, "--init: wanted a file that this run does not write"),
        (False, "there are weights, but no last.pt of their run"),
    ],
)
def test_train_writes_over_no_weights_but_its_own(
    weights: Path,
    tmp_path: Path,
    starts_there: bool,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    best = tmp_path / "run" / "best.safetensors"
    best.parent.mkdir()
    shutil.copy(weights, best)
    more = ["--init", str(best)] if starts_there else []
    assert message in refused(train(best.parent, *more), capsys)
    assert best.read_bytes() == weights.read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "99999999999999999999"], "wanted at most 4,294,967,295, got"),
        (["--seed", "-1"], "wanted a whole number of 0 or more, got '-1'"),
    ],
)
def test_seeds_out_of_range(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(train(tmp_path, *words))
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threads", "100000"], "--threads must be at most 1024, got 100000"),
        (["--mean", "nan"], "needs 1 finite numbers as mean"),
        (["--std", "inf"], "1 above 0 as std, got"),
        (["--model", "resnet999998"], "name must be one of"),
    ],
)
def test_numbers_out_of_range(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(train(tmp_path / "run", *words), capsys)
    assert not (tmp_path / "run").exists()


def test_a_compiler_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch._inductor.config

    with torch._inductor.config.patch("cpp.cxx", (str(tmp_path / "none"),)):
        said = refused(train(tmp_path / "run", "--compile", "--threads", "1"), capsys)
    assert "--compile: torch.compile cannot compile here" in said and "Leave --compile out" in said
