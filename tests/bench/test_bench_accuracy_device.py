"""bench/accuracy.py --device and --out: where it runs and writes, refused before the work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cells import Cells

ROWS = ("opi", "bias", "srp", "best-signed")


def words(tiny: Path, out: Path, device: str) -> list[str]:
    own = ["--dataset", "digits", "--weights", f"tiny={tiny}", "--calibration-images", "32"]
    asked = ["--limit", "200", "--T", "4", "--methods", *ROWS, "--arithmetic", "int16"]
    return [*own, *asked, "--device", device, "--out", str(out)]


@pytest.mark.gpu
def test_a_gpu_measures_what_the_cpu_does(accuracy, tiny, tmp_path):
    tables = []
    for device in ("cpu", "cuda"):
        assert accuracy.main(words(tiny, tmp_path / device, device)) == 0
        tables.append(list(Cells(tmp_path / device / "cells.jsonl")))
    on_cpu, on_gpu = tables
    assert [key for key, _ in on_gpu] == [key for key, _ in on_cpu]
    for (_, theirs), (_, ours) in zip(on_cpu, on_gpu, strict=True):
        assert ours.made["gpu"] == torch.cuda.get_device_name()
        assert ours.arithmetic == theirs.arithmetic
        # Calibration sums in another order: an image at the edge of two classes may change sides.
        assert abs(ours.correct - theirs.correct) <= 4


def test_a_gpu_that_is_not_there_is_refused(accuracy, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert accuracy.main(words(tiny, tmp_path, "cuda")) == 1
    assert (
        "--device cuda: torch finds no CUDA GPU here; use --device cpu" in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    accuracy, tiny, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(accuracy, "_measure", None)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "README.md").write_text("mine")
    (tmp_path / "odd" / "cells.jsonl").mkdir(parents=True)
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "cells.jsonl").write_bytes(b"\xff\xfe")
    for name, reason in (
        ("file", "--out: wanted the name of a folder, got the file"),
        ("file/below", "--out: wanted the name of a folder, got the file"),
        ("page", "holds a README.md of something else; choose another folder"),
        ("odd", "wanted the name of a file to write, found a folder"),
        ("binary", "cells.jsonl, line 1: wanted a measured cell, found something else"),
    ):
        assert accuracy.main(words(tiny, tmp_path / name, "cpu")) == 1
        said = capsys.readouterr().err
        assert reason in said and str(tmp_path / name.partition("/")[0]) in said
    assert (tmp_path / "file").read_text() == (tmp_path / "page" / "README.md").read_text()


def test_two_networks_of_one_name_are_refused(accuracy, tiny, tmp_path, capsys):
    command = [*words(tiny, tmp_path, "cpu"), "--weights", f"tiny={tiny}"]
    assert accuracy.main(command) == 1
    assert "--weights: tiny is there twice; take another name" in capsys.readouterr().err
