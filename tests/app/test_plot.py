"""The accuracy plot."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from spikeconv.plot import plot_accuracy

CURVES = {"v_init = 0": {1: 0.1, 2: 0.4, 4: 0.8}, "v_init = theta/2": {1: 0.5, 2: 0.8, 4: 0.9}}


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_a_picture_is_written(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"plot{suffix}"
    plot_accuracy(path, CURVES, ann=0.95, title="digits")
    assert path.read_bytes().startswith(start)


def test_the_svg_names_every_curve(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_accuracy(path, CURVES, ann=0.95, title="a title")
    text = path.read_text()
    for name in (*CURVES, "ANN", "a title", "time-steps T", "accuracy (%)"):
        assert f">{name}<" in text


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "must hold points"),
        ({"a": {}}, "must hold points"),
        ({"a": {0: 0.5}}, "'a' must map T >= 1"),
        ({"a": {1: 50.0}}, "'a' must map T >= 1 to an accuracy in 0..1"),
    ],
)
def test_nonsense_is_refused(
    tmp_path: Path, curves: dict[str, dict[int, float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plot_accuracy(tmp_path / "plot.png", curves)
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end with \.png or \.svg"):
        plot_accuracy(tmp_path / "plot.gif", CURVES)
