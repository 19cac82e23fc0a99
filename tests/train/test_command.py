"""spikeconv train, from data to weights that say what they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from spikeconv.cli import main
from spikeconv.cli import train as command
from spikeconv.data import load_dataset, photos
from spikeconv.models import ResNetConfig, load_model
from spikeconv.models.weights import read_weights
from spikeconv.train import Trainer, job
from spikeconv.train.checkpoint import RunFolder
from spikeconv.train.finish import STEPS
from spikeconv.train.observe import activations


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every ResNet have few channels."""
    chosen = job.network_config

    def few_channels(*args: Any) -> ResNetConfig:
        config = chosen(*args)
        return replace(config, widths=(4, 4, 8, 8)[: len(config.widths)])

    monkeypatch.setattr(job, "network_config", few_channels)


def words(out: Path, *more: str) -> list[str]:
    short = ["--limit", "128", "--batch", "32", "--epochs", "2", "--out", str(out)]
    return ["train", "--model", "resnet8", "--dataset", "digits", *short, *more]


def refused(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    assert main(argv) == 2
    line = capsys.readouterr().err
    assert line.startswith("spikeconv: ") and line.count("\n") == 1
    return line


def test_digits_from_nothing_to_qcfs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relu, qcfs = tmp_path / "relu", tmp_path / "qcfs"
    assert main(words(relu, "--lr", "0.05")) == 0
    out = capsys.readouterr().out
    assert "digits: 128 images to train on, 143 held out, 4 steps an epoch" in out
    assert "epoch 2/2: loss" in out and f"wrote {relu / 'best.safetensors'}: epoch" in out

    start = ["--init", str(relu / "best.safetensors"), "--activation", "qcfs", "--levels", "6"]
    assert main(words(qcfs, *start)) == 0
    out = capsys.readouterr().out
    assert "bounds of least square error on 128 training images: relu " in out
    model = load_model(qcfs / "best.safetensors", "resnet8", num_classes=10)
    assert (model.config.activation, model.config.levels) == ("qcfs", 6)
    about = read_weights(qcfs / "best.safetensors").about
    assert about["model"] == "resnet8" and about["config"]["in_channels"] == 1
    assert (about["dataset"], about["init"]) == ("digits", "best.safetensors")
    assert about["init_sha256"] == hashlib.sha256((relu / about["init"]).read_bytes()).hexdigest()
    assert about["recipe"]["limit"] == 128 and about["recipe"]["augment"] == []
    assert len(about["mean"]) == len(about["std"]) == 1


def test_the_weights_of_a_relu_network_have_thresholds_for_every_T(tmp_path: Path) -> None:
    assert main(words(tmp_path)) == 0
    weights = read_weights(tmp_path / "best.safetensors")
    model = load_model(tmp_path / "best.safetensors")
    assert weights.about["thresholds_T"] == list(STEPS)
    assert weights.thresholds.keys() == activations(model).keys()
    for path, theta in weights.thresholds.items():
        channels = 8 if path.startswith("layer3") else 4
        assert theta.shape == (len(STEPS), channels)
        assert (theta > 0).all()
        # More steps resolve more, so less is cut off.
        assert theta[-1].mean() > theta[0].mean()


def test_what_was_trained_is_evaluated_as_it_was_trained(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    assert main(words(tmp_path, "--mean", "0.25", "--std", "0.5", "--activation", "qcfs")) == 0
    argv = ["evaluate", "--weights", str(tmp_path / "best.safetensors"), "--dataset", "digits"]
    assert main([*argv, "--T", "2", "--limit", "40", "--json", str(result)]) == 0
    settings = json.loads(result.read_text())["settings"]
    assert (settings["model"], settings["mean"], settings["std"]) == ("resnet8", [0.25], [0.5])


def test_the_same_command_goes_on_and_then_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert main(words(straight)) == 0
    calls = [0]
    step = Trainer._step

    def interrupted(self: Trainer, *args: Any) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 6:
            raise KeyboardInterrupt
        return step(self, *args)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    assert main(words(stopped)) == 130
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == (
        f"spikeconv: interrupted; 1 of 2 epochs are kept in {stopped}, and the same command goes "
        "on from there"
    )
    for _ in range(2):
        assert main(words(stopped)) == 0
        ours, theirs = (folder / "best.safetensors" for folder in (stopped, straight))
        assert ours.read_bytes() == theirs.read_bytes()
        assert len((stopped / "log.jsonl").read_text().splitlines()) == 2
    assert f"{stopped}: 2 of 2 epochs are done" in capsys.readouterr().out


def test_an_interrupt_before_the_checkpoint_is_read_does_not_say_that_nothing_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: RunFolder) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "load", interrupted)
    assert main(words(tmp_path)) == 130
    assert capsys.readouterr().err == (
        "spikeconv: interrupted; the same command goes on after the last epoch kept in "
        f"{tmp_path}\n"
    )


def test_a_folder_with_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(tmp_path, "--epochs", "1")) == 0
    capsys.readouterr()
    line = refused(capsys, words(tmp_path, "--epochs", "3", "--activation", "clip"))
    assert "the run there has another epochs, config; choose another folder" in line


def test_other_data_of_the_same_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = words(tmp_path, "--epochs", "1")
    assert main(argv) == 0
    capsys.readouterr()
    data = load_dataset("digits")
    swapped = replace(
        data,
        classes=data.classes[::-1],
        train=replace(data.train, labels=9 - data.train.labels),
    )
    with monkeypatch.context() as patch:
        patch.setattr(command, "load_dataset", lambda *args, **options: swapped)
        assert "has another classes, labels_sha256; choose another folder" in refused(capsys, argv)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    for key in ("classes", "labels_sha256"):
        del state["about"][key]  # as of before they were written
    torch.save(state, tmp_path / "last.pt")
    assert main(argv) == 0


def test_other_weights_of_the_same_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    starts = [tmp_path / name / "best.safetensors" for name in ("a", "b")]
    for seed, start in enumerate(starts):
        assert main(words(start.parent, "--epochs", "1", "--seed", str(seed))) == 0
    run = tmp_path / "run"
    assert main(words(run, "--epochs", "1", "--init", str(starts[0]))) == 0
    capsys.readouterr()
    line = refused(capsys, words(run, "--epochs", "1", "--init", str(starts[1])))
    assert "the run there has another init_sha256; choose another folder" in line
    starts[0].unlink()  # the run needs it no more
    assert main(words(run, "--epochs", "1", "--init", str(starts[0]))) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "resnet21"], "must be one of resnet20"),
        (["--dataset", "cifar10"], "cifar10 needs data_dir"),
        (["--augment", "crop,mirror"], "names must be among crop, flip"),
        (["--lr", "0"], "lr must be above 0"),
        (["--muon-lr", "0.1"], "--muon-lr is of --optimizer muon, got --muon-lr 0.1 with"),
        (["--levels", "8"], "--levels is of --activation qcfs, got --levels 8 with"),
        (["--activation", "qcfs", "--levels", "1" + 23 * "0"], "from 1 to 16,777,216, got 1000"),
        (["--holdout", "1437"], "got 1437 (of which 0 are left to train on)"),
        (["--init", "none.safetensors"], "none.safetensors: wanted a file of weights"),
    ],
    ids=lambda value: value[0].removeprefix("--") if isinstance(value, list) else "",
)
def test_a_users_error_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert message in refused(capsys, words(tmp_path / "run", *more))


@pytest.mark.parametrize(
    ("asked", "here", "used"),
    [("auto", True, True), ("auto", False, False), ("on", False, True), ("off", True, False)],
)
def test_bfloat16_is_used_where_it_is_fast_or_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, here: bool, used: bool
) -> None:
    monkeypatch.setattr(command, "has_fast_bf16", lambda device: here)
    assert main(words(tmp_path, "--epochs", "1", "--bf16", asked)) == 0
    assert read_weights(tmp_path / "best.safetensors").about["recipe"]["bf16"] is used


def test_a_folder_of_photos_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "SIZE", 64)
    draw = torch.Generator().manual_seed(0)
    for part, count in {"train": 3, "val": 1}.items():
        for name in ("cat", "dog"):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = torch.randint(256, (40, 50, 3), generator=draw, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
    argv = ["train", "--model", "resnet18", "--dataset", "folder", "--data", str(tmp_path / "data")]
    argv += ["--epochs", "1", "--batch", "4", "--holdout", "1", "--out", str(tmp_path / "run")]
    assert main([*argv, "--mean", ".5,.5,.5", "--std", ".2,.2,.2"]) == 0
    about = read_weights(tmp_path / "run" / "best.safetensors").about
    assert about["recipe"]["augment"] == ["crop", "flip", "jitter"]
    assert (about["mean"], about["std"]) == ([0.5] * 3, [0.2] * 3)
    config = load_model(tmp_path / "run" / "best.safetensors").config
    assert (config.stem, config.pooling, config.num_classes) == ("imagenet", "avg", 2)
