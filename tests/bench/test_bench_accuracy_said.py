"""bench/accuracy.py: what the report says of its cells is what they say, weights there or not."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import scan
from accuracy_tables import report
from cells import Cell, Cells, Key
from lookup import Results
from methods import by_name
from trained import NETWORKS, Network, size_of_test_set

FACTS = {"machine": "here", "torch": "1", "commit": None}


def add(cells: Cells, network: str, images: int, calibration: int, correct: int) -> None:
    """The cells of an ANN and of `opi` at T = 4."""
    ann = Key(network, "hash", "digits", images, calibration, 0)
    cells.add(ann, Cell(correct, images))
    key = scan.cell_key(ann, by_name("opi"), 4, None)
    assert key is not None
    cells.add(key, Cell(correct, images))


def absent(cells: Cells, *networks: Network, **options: int) -> Results:
    """What tables are made of where no weights are there."""
    missing = {network.name: "not there" for network in networks}
    return Results(cells, networks, {}, missing, **{"calibration": None, "seed": 0, **options})


@pytest.mark.parametrize(("whole", "shown"), [(360, "63.00*"), (100, "63.00"), (0, "63.00")])
def test_weights_that_are_gone_leave_cells_on_fewer_images_marked(whole: int, shown: str) -> None:
    network, cells = Network("net", "digits", Path("net.pt"), "a net"), Cells(None)
    add(cells, "net", 100, 32, 63)
    text = report(absent(cells, network, test_images=whole), FACTS, {})
    assert f"ANN {shown}. not there" in text
    assert f"| {shown} |" in text


def test_the_size_of_a_test_set_is_that_of_the_data_else_what_was_published(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    images = {"data": np.zeros((7, 3072), np.uint8), "fine_labels": [0] * 7}
    meta = {"fine_label_names": ["apple"]}
    for name, content in (("train", images), ("test", images), ("meta", meta)):
        (folder / name).write_bytes(pickle.dumps(content))
    assert size_of_test_set("cifar100", tmp_path) == 7
    assert size_of_test_set("cifar10", tmp_path) == 10_000
    assert size_of_test_set("folder", tmp_path / "nowhere") == 0


def test_a_table_without_weights_and_data_marks_what_is_of_fewer_images(
    accuracy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = next(network for network in NETWORKS if network.name == "resnet20-shared")
    monkeypatch.setattr(accuracy, "NETWORKS", [ours])
    cells = Cells(tmp_path / "cells.jsonl")
    cells.add(Key(ours.name, "hash", "cifar10", 100, 32, 0), Cell(63, 100))
    nothing = ["--data", str(tmp_path), "--out", str(tmp_path)]
    assert accuracy.main(["--tables", *nothing]) == 0
    assert "ANN 63.00*." in (tmp_path / "README.md").read_text()


def test_the_images_calibrated_on_are_those_of_the_cells() -> None:
    networks = [Network(name, "digits", Path(name), "") for name in ("one", "two", "three")]
    cells = Cells(None)
    for network, calibration in zip(networks, (32, 32, 64), strict=True):
        add(cells, network.name, 10, calibration, 5)
    for asked in ({}, {"calibration": 1024}):
        results = absent(cells, *networks, **asked)
        text = report(results, FACTS, {})
        assert "Calibrated on 32 training images (three on 64), which seed 0" in text
        counts = [results.to_dict()[network.name]["calibration_images"] for network in networks]
        assert counts == [32, 32, 64]


def test_of_cells_with_several_counts_those_asked_for_are_shown_else_the_networks_own() -> None:
    network, cells = Network("net", "digits", Path("net"), "", calibration=64), Cells(None)
    for calibration, correct in ((64, 6), (32, 3), (128, 9)):
        add(cells, "net", 10, calibration, correct)
    for asked, calibration, shown in (({}, 64, "60.00"), ({"calibration": 32}, 32, "30.00")):
        text = report(absent(cells, network, **asked), FACTS, {})
        assert f"Calibrated on {calibration} training images, which" in text
        assert f"ANN {shown}." in text


def test_without_cells_nothing_is_said_of_a_count() -> None:
    text = report(absent(Cells(None), Network("net", "digits", Path("net"), "")), FACTS, {})
    assert "Calibrated on training images, which seed 0 draws" in text


def test_more_calibration_images_than_there_are_is_said_as_what_was_taken(
    accuracy, tiny: Path, tmp_path: Path
) -> None:
    command = ["--dataset", "digits", "--weights", f"tiny={tiny}", "--limit", "10", "--T", "2"]
    command += ["--methods", "zero", "--calibration-images", "5000", "--out", str(tmp_path)]
    assert accuracy.main(command) == 0
    assert "Calibrated on 1,437 training images, which" in (tmp_path / "README.md").read_text()
    content = json.loads((tmp_path / "accuracy.json").read_text())
    assert content["networks"]["tiny"]["calibration_images"] == 1437
    assert "calibration_images" not in content["settings"]


@pytest.mark.parametrize(
    ("option", "value"), [("--mean", "0.5"), ("--std", "1,1,1"), ("--pooling", "avg")]
)
def test_what_is_said_of_your_own_network_is_refused_without_one(
    accuracy, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert accuracy.main([option, value, "--tables", "--out", str(tmp_path / "out")]) == 1
    assert f"{option}: wanted --weights NAME=FILE, " in capsys.readouterr().err
    assert not (tmp_path / "out" / "README.md").exists()


def test_a_normalisation_is_recorded_with_the_network_that_it_is_of(
    accuracy, tiny: Path, tmp_path: Path
) -> None:
    command = ["--dataset", "digits", "--weights", f"tiny={tiny}", "--limit", "10", "--T", "2"]
    command += ["--methods", "zero", "--mean", "0.25", "--out", str(tmp_path), "--std", "0.5"]
    assert accuracy.main(command) == 0
    text = (tmp_path / "README.md").read_text()
    assert "Images normalised with mean 0.25 and std 0.5." in text.split("## tiny")[1]
    assert "mean" not in text.split("## tiny")[0].rpartition("cells, ")[2]
    content = json.loads((tmp_path / "accuracy.json").read_text())
    assert content["settings"] == {"dataset": "digits", "seed": 0}
    given = content["networks"]["tiny"]["given"]
    assert (given["mean"], given["std"]) == ([0.25], [0.5])
