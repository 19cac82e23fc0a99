"""bench/accuracy.py --device: a GPU measures the same cells; without one that is said."""

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
