"""bench/accuracy.py --quick, and the published figures."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

import accuracy_quick
import accuracy_smoke
from accuracy_goals import GOALS
from accuracy_quick import Compared, compare, error_bar, verdict
from cells import Cell, Cells, Key
from methods import METHODS, STEPS
from published import PUBLISHED
from scan import Task
from trained import NETWORKS

KEY = Key("net", "hash", "digits", 2000, 512, 0, 4)
TASK = Task(NETWORKS[0], "opi", KEY, (0,))


def test_the_error_bar_is_that_of_a_sample_without_putting_back():
    # p = 0.5 exactly: 3 * sqrt(0.25 * (1 / 2000 - 1 / 10000))
    assert error_bar(Cell(5000, 10000), 2000) == pytest.approx(3 * math.sqrt(0.25 * 0.0004))
    assert error_bar(Cell(10000, 10000), 2000) > 0, "no accuracy is certain"
    torch.manual_seed(0)
    right = torch.rand(10000) < 0.8
    full = Cell(int(right.sum()), 10000)
    parts = torch.stack([right[torch.randperm(10000)[:2000]].double().mean() for _ in range(400)])
    spread = (parts - full.accuracy).square().mean().sqrt().item()
    assert spread == pytest.approx(error_bar(full, 2000) / 3, rel=0.15)


@pytest.mark.parametrize(("right", "agrees"), [(1600, True), (1640, True), (1660, False)])
def test_a_cell_agrees_within_three_standard_errors(right, agrees):
    one = Compared(TASK, Cell(right, 2000), Cell(8000, 10000))
    assert one.agrees is agrees
    text, good = verdict([one])
    assert good is agrees
    assert ("OUTSIDE" in text) is not agrees
    assert f"1 cells compared, {int(not agrees)} outside" in text


def test_a_cell_without_a_counterpart_is_shown_and_alone_is_no_agreement():
    here, full = Cells(None), Cells(None)
    here.add(KEY, Cell(1600, 2000))
    full.add(replace(KEY, images=10000, T=8), Cell(8000, 10000))
    text, good = verdict(compare([TASK], here, full))
    assert not good
    assert "not in the table" in text
    assert "nothing to compare with" in text
    full.add(replace(KEY, images=10000), Cell(8000, 10000))
    assert verdict(compare([TASK], here, full))[1]
    full.add(replace(KEY, images=10000, weights="others"), Cell(8000, 10000))
    assert len(compare([TASK], here, full)) == 1


def test_quick_measures_anew_and_writes_nothing(load_script, tmp_path, monkeypatch, capsys):
    accuracy = load_script("accuracy")
    accuracy_smoke.write_weights(tmp_path / "tiny.pt")
    monkeypatch.setattr(accuracy_quick, "CELLS", {"opi": (4,), "zero": (4,)})
    command = ["--dataset", "digits", "--weights", f"tiny={tmp_path / 'tiny.pt'}"]
    command += ["--calibration-images", "32", "--out", str(tmp_path)]
    assert accuracy.main([*command, "--T", "4", "--methods", "opi", "zero"]) == 0
    path = tmp_path / "cells.jsonl"
    before = path.read_bytes()
    assert accuracy.main([*command, "--quick", "--limit", "90"]) == 0
    assert "3 cells compared, 0 outside" in capsys.readouterr().out
    assert path.read_bytes() == before
    lines = [json.loads(line) for line in before.splitlines()]
    lines[1]["cell"]["correct"] = 0 if lines[1]["cell"]["correct"] > 180 else 360
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert accuracy.main([*command, "--quick", "--limit", "90"]) == 1
    assert "1 outside of 3 standard errors" in capsys.readouterr().out


def test_the_quick_cells_are_cells_of_the_table():
    for method in accuracy_quick.methods():
        whole = next(m for m in METHODS if m.name == method.name)
        assert set(method.steps) <= set(whole.steps)
        assert method.settings(8, None) == whole.settings(8, None)


def test_of_a_large_network_quick_measures_what_takes_seconds():
    large = next(n for n in NETWORKS if n.name == "vgg16-cifar10-clip")
    small = next(n for n in NETWORKS if n.name == "resnet20-shared")
    tasks = [Task(n, m, KEY, (0,)) for n in (large, small) for m in ("ann", "opi", "best")]
    assert accuracy_quick.kept(tasks) == [*tasks[:2], *tasks[3:]]
    assert {small.name, large.name} <= set(accuracy_quick.NETWORKS)


def test_published_figures_are_percentages_with_a_source():
    for row in PUBLISHED:
        assert row.figures
        assert set(row.figures) <= set(STEPS)
        assert all(0 < figure < 100 for figure in row.figures.values())
        assert row.source
        assert row.ann is None or 60 < row.ann < 100
    names = [(row.dataset, row.family, row.method) for row in PUBLISHED]
    assert len(set(names)) == len(names)
    unconfirmed = [row for row in PUBLISHED if not row.confirmed]
    assert {row.method for row in unconfirmed} == {"OPI", "OPI, the other T", "robust norm"}
    paper = next(row for row in PUBLISHED if (row.dataset, row.family) == ("cifar10", "vgg16"))
    assert (paper.method, paper.figures, paper.confirmed) == ("OPI", {16: 93.38}, True)


def test_goals_are_of_networks_and_methods_that_exist():
    names = {network.name for network in NETWORKS}
    for goal in GOALS:
        assert goal.network in names
        assert goal.method in {method.name for method in METHODS}
        assert list(goal.wanted.values()) == sorted(goal.wanted.values()), "more steps, more of it"
