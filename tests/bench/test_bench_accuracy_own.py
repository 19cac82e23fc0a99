"""bench/accuracy.py on networks of your own, and on other datasets' folders."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cells import Cells
from spikeconv.models import build_model
from spikeconv.models.weights import Weights, write_weights
from trained import load, own_network


def test_wrong_arguments_are_said_in_a_line(accuracy, tiny, tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    for arguments, message in (
        (["--dataset", "digits"], "no network is known for it; add --weights NAME=FILE"),
        (["--dataset", "digits", "--weights", "tiny"], "wanted NAME=FILE"),
        (["--dataset", "digits", "--weights", f"a/b={tiny}"], "wanted NAME=FILE"),
        (["--dataset", "digits", "--weights", "tiny=nowhere.pt"], "there is no such file"),
        (
            ["--dataset", "digits", "--weights", f"tiny={tiny}", "--networks", "big"],
            "wanted some of tiny for digits, got 'big'",
        ),
    ):
        assert accuracy.main([*arguments, *out]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="is a network of the table"):
        own_network(f"resnet20-shared={tiny}", "cifar10")


def test_a_network_of_other_classes_is_refused(tmp_path):
    torch.save(build_model("resnet8", widths=(4, 4, 4)).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"wanted a network for digits \(10 classes, 1 input"):
        load(own_network(f"mine={tmp_path / 'w.pt'}", "digits"), tmp_path)


def test_weights_that_say_their_normalisation_are_given_it(tmp_path):
    about = {"dataset": "digits", "mean": [0.25], "std": [0.5]}
    ann = build_model("resnet8", widths=(4, 4, 4), in_channels=1)
    write_weights(tmp_path / "w.safetensors", Weights(ann.state_dict(), about))
    text = f"mine={tmp_path / 'w.safetensors'}"
    loaded = load(own_network(text, "digits"), tmp_path)
    assert (loaded.data.test.mean, loaded.data.test.std) == ((0.25,), (0.5,))
    other = load(own_network(text, "digits", (0.1,)), tmp_path)
    assert (other.data.test.mean, other.data.test.std) == ((0.1,), (0.5,))
    assert other.given != loaded.given  # so its cells are others


def weights_for(folder: Path, classes: int) -> str:
    path = folder / "mine.pt"
    torch.manual_seed(0)
    torch.save(build_model("resnet8", widths=(4, 4, 4), num_classes=classes).state_dict(), path)
    return f"mine={path}"


def measured(folder: Path) -> list[int]:
    return [cell.images for _, cell in Cells(folder / "cells.jsonl")]


def test_cifar100_runs_by_the_same_command(accuracy, tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    rng = np.random.default_rng(0)

    def part(count):
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        return {"data": pixels, "fine_labels": [i % 100 for i in range(count)]}

    meta = {"fine_label_names": [str(i) for i in range(100)]}
    for name, content in (("train", part(12)), ("test", part(8)), ("meta", meta)):
        (folder / name).write_bytes(pickle.dumps(content))
    arguments = ["--dataset", "cifar100", "--data", str(tmp_path), "--T", "2", "--methods", "opi"]
    out = tmp_path / "out"
    weights = weights_for(tmp_path, 100)
    assert accuracy.main([*arguments, "--weights", weights, "--out", str(out)]) == 0
    assert measured(out) == [8, 8]
    assert "cifar100, resnet20" in (out / "README.md").read_text(), "with its published figures"


@pytest.mark.parametrize("dataset", ["imagenet", "folder"])
def test_folders_of_photos_run_by_the_same_command(accuracy, tmp_path, dataset):
    for part in ("train", "val"):
        for i, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for j in range(2):
                image = Image.new("RGB", (60, 50), (100 * i, 40 * j, 9))
                image.save(tmp_path / part / name / f"{j}.png")
    arguments = ["--dataset", dataset, "--data", str(tmp_path), "--T", "2", "--methods", "opi"]
    out = tmp_path / "out"
    weights = weights_for(tmp_path, 2)
    assert accuracy.main([*arguments, "--weights", weights, "--out", str(out)]) == 0
    assert measured(out) == [4, 4]
