"""bench/accuracy.py: cells, resumption, what is planned, and the tables."""

from __future__ import annotations

import doctest
import json
import os
from pathlib import Path

import pytest
import torch

import scan
from cells import Cell, Cells, Key
from lookup import Results, steps_of
from methods import METHODS, by_name
from spikeconv import convert
from spikeconv.calibrate import INITIAL_POTENTIALS, THRESHOLDS
from spikeconv.calibrate.correct import CORRECTION_NAMES
from spikeconv.data import load_dataset
from spikeconv.evaluate import evaluate
from spikeconv.models import build_model, load_model
from trained import NETWORKS, Loaded, Network, trained_threshold

IMAGES = 40
ROWS = ("opi", "zero", "bias", "srp", "best-signed")


@pytest.fixture(scope="module")
def command(tiny):
    """Arguments that measure it, without --out."""
    arguments = ["--dataset", "digits", "--weights", f"tiny={tiny}", "--calibration-images", "32"]
    return [*arguments, "--limit", str(IMAGES), "--T", "2", "8", "--methods", *ROWS]


@pytest.fixture(scope="module")
def table(accuracy, command, tmp_path_factory):
    """A folder with the table."""
    out = tmp_path_factory.mktemp("table")
    assert accuracy.main([*command, "--out", str(out)]) == 0
    return out


def cells_of(folder: Path) -> dict[tuple[int, str], Cell]:
    """(T, settings) -> cell."""
    found = Cells(folder / "cells.jsonl")
    return {(key.T, json.dumps(key.settings, sort_keys=True)): cell for key, cell in found}


def test_a_smoke_run_takes_no_other_option(accuracy, capsys):
    with pytest.raises(SystemExit):
        accuracy.main(["--methods", "foo", "--smoke"])
    assert "--smoke must be the only option" in capsys.readouterr().err


def test_the_table_has_every_cell_once_and_says_what_it_was_made_of(table):
    cells = cells_of(table)
    assert len(cells) == 1 + len(ROWS) * 2
    content = json.loads((table / "accuracy.json").read_text())
    assert {"machine", "commit", "torch", "spikeconv"} <= content["machine"].keys()
    assert content["settings"]["dataset"] == "digits"
    tiny = content["networks"]["tiny"]
    # Rows with the same settings share a cell.
    assert tiny["methods"].keys() == {*ROWS, "half", "mse", "mse/zero"}
    assert tiny["methods"]["half"] == tiny["methods"]["opi"]
    assert tiny["methods"]["srp"]["8"]["before_readout"] == 4
    assert tiny["methods"]["opi"]["8"]["before_readout"] == 0
    text = (table / "README.md").read_text()
    cell = tiny["methods"]["opi"]["8"]
    assert f"{100 * cell['accuracy']:.2f}*" in text, "fewer than all images are marked"
    assert "| srp | SRP | T/2, at most 4 |" in text
    for name in ("tiny.png", "tiny-layers.png"):
        assert f"]({name})" in text
        assert (table / name).stat().st_size > 1000
    assert not [path for path in table.iterdir() if path.name.startswith(".")]


def test_a_cell_is_what_evaluate_says_after_exactly_T_steps(table, tiny):
    data = load_dataset("digits")
    ann = load_model(tiny)
    snn = convert(ann, data.train.sample(32, 0), T=8, method="opi", srp=4, progress=False)
    wanted = evaluate(ann, snn, data.test.batches(50, IMAGES), progress=False)
    methods = json.loads((table / "accuracy.json").read_text())["networks"]["tiny"]
    assert methods["methods"]["srp"]["8"]["accuracy"] == wanted.snn[-1]
    assert methods["ann"] == wanted.ann


def test_a_second_run_measures_nothing_and_leaves_the_file_alone(
    accuracy, command, table, monkeypatch
):
    before = (table / "cells.jsonl").read_bytes()
    monkeypatch.setattr(scan, "measure", None)
    assert accuracy.main([*command, "--out", str(table)]) == 0
    assert (table / "cells.jsonl").read_bytes() == before
    fewer = [*command, "--out", str(table), "--limit", "10"]
    assert accuracy.main(fewer) == 0, "a cell on more images is as good"


def test_an_interrupted_run_keeps_its_cells_and_goes_on(
    accuracy, command, table, tmp_path, monkeypatch, capsys
):
    measure, calls = scan.measure, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    monkeypatch.setattr(scan, "measure", interrupted)
    command = [*command, "--out", str(tmp_path)]
    assert accuracy.main(command) == 130
    assert "all finished cells are kept" in capsys.readouterr().err
    assert len(cells_of(tmp_path)) == 4, "the ANN and three cells"
    assert (tmp_path / "README.md").exists()
    assert accuracy.main(command) == 0
    assert len(calls) == 4 + 7, "only what was missing"
    whole = cells_of(table)
    assert {key: cell.correct for key, cell in cells_of(tmp_path).items()} == {
        key: cell.correct for key, cell in whole.items()
    }


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda line: line[: len(line) // 2], "JSONDecodeError"),
        (lambda line: line.replace('"correct"', '"wrong"'), "TypeError"),
        (
            lambda line: line.replace('"images": 40, "before"', '"images": 0, "before"'),
            "of 0 images",
        ),
        (lambda line: "[1]", "TypeError"),
    ],
)
def test_a_damaged_line_is_named(accuracy, command, table, tmp_path, capsys, damage, reason):
    lines = (table / "cells.jsonl").read_text().splitlines()
    lines[2] = damage(lines[2])
    path = tmp_path / "cells.jsonl"
    path.write_text("\n".join(lines) + "\n")
    assert accuracy.main([*command, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"{path}, line 3: wanted a measured cell" in error
    assert reason in error


def cells_in(path, *corrects):
    keys = [Key("net", "hash", "digits", 10, 5, 0, T) for T in range(1, len(corrects) + 1)]
    cells = Cells(path)
    for key, correct in zip(keys, corrects, strict=True):
        cells.add(key, Cell(correct, 10))


def cut_off(path):
    """Write two cells and the beginning of a third; return what is whole."""
    cells_in(path, 1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 4])
    return whole


def corrects(path):
    return [cell.correct for _, cell in Cells(path)]


def test_a_line_that_was_cut_off_gives_way_to_the_next(tmp_path):
    path = tmp_path / "cells.jsonl"
    cut_off(path)
    with pytest.warns(UserWarning, match="its last line is cut off"):
        cells = Cells(path)
    cells.add(Key("net", "hash", "digits", 10, 5, 0, 3), Cell(3, 10))
    assert corrects(path) == [1, 2, 3]


def test_what_others_wrote_since_is_not_cut_off(tmp_path):
    """Neither another run's cells, nor those that are left when somebody has mended the file."""
    path = tmp_path / "cells.jsonl"
    whole = cut_off(path)
    with pytest.warns(UserWarning, match="its last line is cut off"):
        first, second, third = Cells(path), Cells(path), Cells(path)
    second.add(Key("net", "hash", "digits", 10, 5, 0, 3), Cell(3, 10))
    first.add(Key("net", "hash", "digits", 10, 5, 0, 4), Cell(4, 10))
    assert corrects(path) == [1, 2, 3, 4]
    path.write_bytes(whole)
    third.add(Key("net", "hash", "digits", 10, 5, 0, 5), Cell(5, 10))
    assert corrects(path) == [1, 2, 5]
    path.unlink()
    third.add(Key("net", "hash", "digits", 10, 5, 0, 6), Cell(6, 10))
    assert corrects(path) == [6]


def test_neither_blank_lines_nor_a_missing_line_end_lose_a_cell(tmp_path):
    path = tmp_path / "cells.jsonl"
    cells_in(path, 1, 2)
    path.write_bytes(b"\n" + path.read_bytes().rstrip(b"\n"))
    Cells(path).add(Key("net", "hash", "digits", 10, 5, 0, 3), Cell(3, 10))
    path.write_bytes(path.read_bytes() + b"\n  \n")
    assert corrects(path) == [1, 2, 3]


def test_bytes_that_are_no_text_are_a_damaged_line(tmp_path):
    path = tmp_path / "cells.jsonl"
    cells_in(path, 1, 2)
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\xff" + second)
    with pytest.raises(ValueError, match=r"line 2: wanted a measured cell, found .*Unicode"):
        Cells(path)


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    path, write = tmp_path / "cells.jsonl", os.write
    cells_in(path, 1, 2)
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:20]))
    with pytest.raises(OSError, match="the disk took 20 of"):
        cells_in(path, 3)
    monkeypatch.undo()
    cells_in(path, 4)
    assert corrects(path) == [2, 4]


def test_every_T_that_was_measured_is_a_column(tmp_path):
    network = Network("net", "digits", tmp_path, "")
    cells = Cells(None)
    for T in (0, 3, 16):
        cells.add(Key("net", "hash", "digits", 10, 5, 0, T), Cell(1, 10))
    cells.add(Key("other", "hash", "digits", 10, 5, 0, 5), Cell(1, 10))
    cells.add(Key("net", "hash", "digits", 10, 5, 1, 7), Cell(1, 10))
    assert steps_of(cells, [network], 0, [128]) == (1, 2, 3, 4, 8, 16, 32, 64, 128)


def test_two_files_of_cells_that_are_open_at_once_lose_nothing(tmp_path):
    path = tmp_path / "cells.jsonl"
    keys = [Key("net", "hash", "digits", 10, 5, 0, T) for T in (1, 2, 3)]
    first, second = Cells(path), Cells(path)
    first.add(keys[0], Cell(1, 10))
    second.add(keys[1], Cell(2, 10))
    first.add(keys[2], Cell(3, 10))
    first.add(keys[0], Cell(4, 10))
    assert [cell.correct for _, cell in Cells(path)] == [2, 3, 4], "the later of two counts"


def test_of_cells_that_differ_in_their_images_the_largest_is_found():
    cells = Cells(None)
    key = Key("net", "hash", "digits", 10, 5, 0, 4)
    cells.add(Key("net", "hash", "digits", 30, 5, 0, 4), Cell(20, 30))
    cells.add(key, Cell(5, 10))
    cells.add(Key("net", "other hash", "digits", 90, 5, 0, 4), Cell(90, 90))
    found = cells.best(key)
    assert found is not None
    assert found.correct == 20


def test_every_method_of_the_package_has_a_row():
    options = [method.settings(8, trained) for method in METHODS for trained in ("tcl", "qcfs")]
    found = [one for one in options if one is not None]
    assert {one["threshold"] for one in found} - {None} == set(THRESHOLDS)
    assert {one["v_init"] for one in found} == set(INITIAL_POTENTIALS)
    assert {name for one in found for name in one["corrections"] or ()} == set(CORRECTION_NAMES)
    assert {"srp", "cos", "delay"} <= {name for one in found for name in one}
    names = [method.name for method in METHODS]
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match=r"--methods: wanted some of opi, best, .*got 'magic'"):
        by_name("magic")


@pytest.mark.parametrize("kind", ["relu", "clip", "qcfs"])
def test_rows_of_the_paper_and_of_the_default_are_those_of_convert(kind):
    """`opi` spells out what convert(method="opi") leaves open."""
    torch.manual_seed(0)
    ann = build_model("resnet8", widths=(4, 4, 4), in_channels=1, activation=kind).eval()
    x = torch.rand(16, 1, 8, 8)
    trained = trained_threshold(ann)
    assert trained == {"relu": None, "clip": "tcl", "qcfs": "qcfs"}[kind]
    settings = by_name("opi").settings(4, trained)
    row = convert(ann, x, T=4, progress=False, **settings)
    own = convert(ann, x, T=4, progress=False, method="opi")
    assert torch.equal(row(x), own(x))
    assert by_name("best").settings(4, trained) == {
        "threshold": None,
        "granularity": "channel",
        "v_init": "half",
        "signed": False,
        "corrections": None,
        "method": "best",
    }


def test_steps_before_the_readout_never_leave_none_to_read():
    for method in METHODS:
        for T in range(1, 70):
            settings = method.settings(T, None)
            if settings is not None and method.before:
                before = sum(settings[name] for name in method.before)
                assert 0 < before < T
    assert by_name("delay").settings(3, None) is None
    assert [by_name("cos").settings(T, None)["cos"] for T in (2, 6, 64)] == [1, 3, 4]


def test_the_goals_come_first_and_no_cell_is_planned_twice():
    data = load_dataset("digits")
    network = next(n for n in NETWORKS if n.name == "resnet20-shared")
    loaded = Loaded(torch.nn.Identity(), "hash", None, data, {})
    tasks = scan.plan([(network, loaded)], METHODS, None, None, 512, 0)
    assert tasks[0].method == "ann"
    first = [(task.method, task.key.T) for task in tasks[1:9]]
    assert first == [(name, T) for T in (4, 8, 16, 32) for name in ("best", "best-signed")]
    assert tasks[-1].key.T == 64
    keys = [task.key.text() for task in tasks]
    assert len(set(keys)) == len(keys)
    assert all(task.key.images == len(data.test) for task in tasks)


def test_missing_weights_are_a_row_with_the_command_that_makes_them(accuracy, tmp_path):
    network = Network("vgg", "digits", Path("vgg.safetensors"), "a VGG", train="spikeconv train x")
    reason = network.missing(tmp_path)
    assert reason is not None
    assert reason.startswith("weights not there: ")
    results = Results(Cells(None), [network], {}, {"vgg": reason}, 512, 0)
    accuracy.write(tmp_path, results, {"machine": "here", "torch": "1", "commit": None}, {})
    text = (tmp_path / "README.md").read_text()
    assert "## vgg" in text
    assert "`spikeconv train x` makes them" in text


@pytest.mark.parametrize("module", ["methods", "cells", "accuracy_tables", "accuracy_quick"])
def test_examples_in_docstrings_of_the_table(load_script, module):
    result = doctest.testmod(load_script(module))
    assert result.attempted > 0
    assert result.failed == 0
