"""Accuracy against the number of time-steps, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikeconv.output import check_output

SUFFIXES = (".png", ".svg", ".pdf")
_COLOURS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774")


def figure_class() -> Any:
    """Return matplotlib's Figure; without pyplot it needs no window and leaves no state behind.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            "plot_accuracy: plotting needs matplotlib: pip install matplotlib"
        ) from error
    return Figure


def plot_accuracy(
    path: str | Path,
    curves: Mapping[str, Mapping[int, float]],
    ann: float | None = None,
    title: str | None = None,
) -> None:
    """Draw accuracy against T, one curve for each run, and the ANN as a line.

    Args:
        path: picture to write, ``.png``, ``.svg`` or ``.pdf``.
        curves: name of the run -> {T: accuracy in 0..1}, T >= 1.
        ann: accuracy of the ANN in 0..1, or None.
        title: text above the picture, or None.

    Raises:
        ValueError: nothing to draw, a value out of range, or a name that cannot be written.
        ImportError: matplotlib is not installed.
    """
    path = check_output(path, SUFFIXES)
    if not curves or not all(curves.values()):
        raise ValueError(f"plot_accuracy: curves must hold points, got {dict(curves)}")
    for name, points in curves.items():
        if not all(T >= 1 and 0 <= accuracy <= 1 for T, accuracy in points.items()):
            raise ValueError(
                f"plot_accuracy: {name!r} must map T >= 1 to an accuracy in 0..1, got {points}"
            )
    figure = figure_class()(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    last = max(max(points) for points in curves.values())
    marked = [1 << i for i in range(last.bit_length()) if 1 << i <= last]
    for i, (name, points) in enumerate(curves.items()):
        steps = sorted(points)
        axes.plot(
            steps,
            [100 * points[T] for T in steps],
            color=_COLOURS[i % len(_COLOURS)],
            marker="o",
            markersize=4.5,
            markevery=[j for j, T in enumerate(steps) if T in (*marked, last)],
            linewidth=1.8,
            label=name,
        )
    if ann is not None:
        axes.axhline(100 * ann, color="#37352f", linewidth=1.2, linestyle=(0, (5, 4)), label="ANN")
    axes.set_xscale("log", base=2)
    axes.set_xticks(marked, [str(T) for T in marked])
    axes.minorticks_off()
    axes.set_ylim(top=102)
    axes.set_xlabel("time-steps T")
    axes.set_ylabel("accuracy (%)")
    if title is not None:
        axes.set_title(title, loc="left", fontsize=11)
    axes.grid(axis="y", color="#e9e9e7", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=160)
