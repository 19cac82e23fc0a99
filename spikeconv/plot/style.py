"""How all pictures look, and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spikeconv.output import check_output, replacing

SUFFIXES = (".png", ".svg", ".pdf")

# Okabe and Ito's colours, which people see apart who do not see red or green.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY = "#E69F00", "#56B4E9"
CURVES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
INK, GREY, PALE, GRID = "#37352f", "#8a8a86", "#cfcdc8", "#e9e9e7"


def figure_class() -> Any:
    """Return matplotlib's Figure; without pyplot it needs no window and leaves no state behind.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError("plotting needs matplotlib: pip install matplotlib") from error
    return Figure


def new_figure(width: float, height: float, title: str | None = None) -> Any:
    """An empty figure of so many inches, with a line above at its left."""
    figure = figure_class()(figsize=(width, height), layout="constrained")
    if title is not None:
        figure.suptitle(caption(title, 120), x=0.01, ha="left", fontsize=11)
    return figure


def caption(text: str, length: int = 40) -> str:
    """A name as it is drawn: of bounded length, and no formula whatever is in it.

    >>> caption("layer1.$x$")
    'layer1.\\\\$x\\\\$'
    """
    half = (length - 5) // 2
    short = text if len(text) <= length else f"{text[:half]} ... {text[-half:]}"
    return "".join(c if c.isprintable() else " " for c in short).replace("$", r"\$")


def plain(axes: Any, grid: str | None = "y") -> None:
    """No box, and lines to read values by."""
    if grid is not None:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8, color=GREY)


def step_ticks(axes: Any, T: int) -> None:
    """Whole steps along the x axis, few enough to be read."""
    every = next(n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 2**30) if T / n <= 16)
    ticks = [1, *range(every, T + 1, every)] if every > 1 else range(1, T + 1)
    axes.set_xticks(list(ticks))


def save(figure: Any, path: str | Path) -> Path:
    """Write a figure, the whole new file or none; the same figure gives the same bytes.

    Raises:
        ValueError, FileNotFoundError: it cannot be written there.
    """
    import matplotlib

    path = check_output(path, SUFFIXES)
    kind = path.suffix.lower().removeprefix(".")
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    with replacing(path) as partial, matplotlib.rc_context({"svg.hashsalt": "spikeconv"}):
        figure.savefig(partial, format=kind, dpi=160, metadata=dates[kind])
    return path
