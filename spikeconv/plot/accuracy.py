"""Accuracy against the number of time-steps, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

from spikeconv.output import check_output
from spikeconv.plot.style import CURVES, INK, SUFFIXES, caption, new_figure, plain, save


def plot_accuracy(
    path: str | Path,
    curves: Mapping[str, Mapping[int, float]],
    ann: float | Mapping[str, float] | None = None,
    title: str | None = None,
) -> None:
    """Draw accuracy against T, one curve for each run, and the ANN as a line.

    Args:
        path: picture to write, ``.png``, ``.svg`` or ``.pdf``.
        curves: name of the run -> {T: accuracy in 0..1}, T >= 1.
        ann: accuracy of the ANN in 0..1, or of each run's, by the names of runs; or None.
        title: text above the picture, or None.

    Raises:
        ValueError: nothing to draw, a value out of range, or a name that cannot be written.
        ImportError: matplotlib is not installed.
    """
    path = check_output(path, SUFFIXES)
    save(draw_accuracy(curves, ann, title), path)


def draw_accuracy(
    curves: Mapping[str, Mapping[int, float]],
    ann: float | Mapping[str, float] | None = None,
    title: str | None = None,
) -> Any:
    """The figure that `plot_accuracy` writes."""
    if not curves or not all(curves.values()):
        raise ValueError(f"plot_accuracy: curves must hold points, got {dict(curves)}")
    for name, points in curves.items():
        if not all(T >= 1 and 0 <= accuracy <= 1 for T, accuracy in points.items()):
            raise ValueError(
                f"plot_accuracy: {name!r} must map T >= 1 to an accuracy in 0..1, got {points}"
            )
    figure = new_figure(6.4, 4.0, title)
    axes = figure.subplots()
    last = max(max(points) for points in curves.values())
    marked = [1 << i for i in range(last.bit_length()) if 1 << i <= last]
    colours = dict(zip(curves, cycle(CURVES), strict=False))
    for i, (name, points) in enumerate(curves.items()):
        steps = sorted(points)
        axes.plot(
            steps,
            [100 * points[T] for T in steps],
            color=colours[name],
            linestyle=("-", "--", ":")[i // len(CURVES) % 3],
            marker="o",
            markersize=4.5,
            markevery=[j for j, T in enumerate(steps) if T in (*marked, last)],
            linewidth=1.8,
            label=caption(name),
        )
    lines = ann if isinstance(ann, Mapping) else {} if ann is None else {"": ann}
    for i, (name, accuracy) in enumerate(lines.items()):
        axes.axhline(
            100 * accuracy,
            color=colours.get(name, INK),
            linewidth=1.2,
            linestyle=(0, (5, 4)),
            label=None if i else "ANN" if len(lines) == 1 else "ANN of each run",
        )
    axes.set_xscale("log", base=2)
    ticks = marked if last in marked or last < 1.25 * marked[-1] else [*marked, last]
    axes.set_xticks(ticks, [str(T) for T in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 102)
    axes.set_xlabel("time-steps T")
    axes.set_ylabel("accuracy (%)")
    plain(axes)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    return figure
