"""Pictures of the accuracy table: curves against T, errors layer by layer, early exit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cells import Cell
from lookup import Results
from methods import by_name
from scan import EXIT_METHOD, EXIT_T, SHARES_METHODS, SHARES_T
from spikeconv.output import replacing
from spikeconv.plot import figure_class
from spikeconv.plot.errors import stack_errors
from spikeconv.plot.style import plain

REFERENCE = "best"
"""Drawn in grey where it is not the subject, so that panels can be compared."""

_COLOURS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#a2845e", "#cb912f", "#337ea9")
_QUIET = "#9b9a97"
_STYLES = ("-", "--", ":")


def draw(out: Path, results: Results) -> list[Path]:
    """Draw all pictures for which there are cells; returns their files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure_class()
    drawn = []
    for network in results.networks:
        name = network.name
        if any(results.rows(name)):
            drawn.append(_save(out / f"{name}.png", _curves(results, name)))
        if layers := shares_of(results, name):
            drawn.append(_save(out / f"{name}-layers.png", _layers(name, layers)))
    exits = {n.name: results.cell(n.name, EXIT_METHOD, EXIT_T) for n in results.networks}
    found = {name: cell for name, cell in exits.items() if cell is not None and cell.exit}
    if found:
        drawn.append(_save(out / "early-exit.png", _exits(found)))
    return drawn


def shares_of(results: Results, network: str) -> dict[str, Cell]:
    """Method -> cell with the shares of every layer's error."""
    cells = {name: results.cell(network, name, SHARES_T) for name in SHARES_METHODS}
    return {name: cell for name, cell in cells.items() if cell is not None and cell.shares}


def _curves(results: Results, network: str) -> Any:
    """A panel for each family of methods."""
    families = list(
        dict.fromkeys(m.family for m in results.methods if results.curve(network, m.name))
    )
    columns = min(3, len(families))
    rows = -(-len(families) // columns)
    figure = figure_class()(figsize=(4.6 * columns, 3.6 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    ann = results.ann(network)
    for axes, family in zip(grid.flat, families, strict=False):
        members = [m.name for m in results.methods if m.family == family]
        drawn = [name for name in members if results.curve(network, name)]
        reference = results.curve(network, REFERENCE)
        if REFERENCE not in members and reference:
            _curve(axes, reference, REFERENCE, _QUIET)
        for name, (colour, style) in looks(drawn).items():
            _curve(axes, results.curve(network, name), name, colour, style)
        if ann is not None:
            axes.axhline(100 * ann.accuracy, color="#37352f", linewidth=1, linestyle=(0, (5, 4)))
        axes.set_title(family, loc="left", fontsize=10)
        _legend(axes, beside=len(drawn) > len(_COLOURS))
    for axes in grid.flat[len(families) :]:
        axes.remove()
    for axes in grid.flat[: len(families)]:
        axes.set_xscale("log", base=2)
        axes.set_xticks(results.steps, [str(T) for T in results.steps])
        axes.minorticks_off()
        axes.set_ylim(0, 102)
        plain(axes)
    figure.supxlabel("time-steps T, all counted", fontsize=10)
    figure.supylabel("accuracy (%)", fontsize=10)
    figure.suptitle(f"{network}, dashed: the ANN", x=0.01, ha="left", fontsize=11)
    return figure


def looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and line style of each: by what stands before a slash, and by what stands behind it.

    Without slashes, and of more names than there are colours, the style tells same colours apart.
    """
    parts = {name: name.partition("/")[::2] for name in names}
    firsts = list(dict.fromkeys(first for first, _ in parts.values()))
    lasts = list(dict.fromkeys(last for _, last in parts.values()))
    found = {}
    for name, (first, last) in parts.items():
        turn, colour = divmod(firsts.index(first), len(_COLOURS))
        found[name] = _COLOURS[colour], _STYLES[(turn + lasts.index(last)) % len(_STYLES)]
    return found


def _legend(axes: Any, beside: bool) -> None:
    """Names of the curves, in the corner where there are none, or beside the panel."""
    place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if beside else {"loc": "lower right"}
    axes.legend(frameon=False, fontsize=7, **place)


def _curve(axes: Any, curve: dict[int, float], name: str, colour: str, style: str = "-") -> None:
    steps = sorted(curve)
    heights = [100 * curve[T] for T in steps]
    axes.plot(steps, heights, style, color=colour, marker="o", markersize=3, label=name)


def _layers(network: str, cells: dict[str, Cell]) -> Any:
    """A panel for each method: a bar for each layer, as high as its error, split into its parts."""
    figure = figure_class()(figsize=(8, 0.6 + 2.2 * len(cells)), layout="constrained")
    panels = figure.subplots(len(cells), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for axes, (name, cell) in zip(panels, cells.items(), strict=True):
        stack_errors(axes, cell.shares)
        title = f"{name}: {by_name(name).label}, {100 * cell.accuracy:.2f} %"
        axes.set_title(title, loc="left", fontsize=10)
    panels[0].legend(frameon=False, fontsize=8, ncols=4, loc="upper left")
    figure.supylabel("error / activation, root mean square", fontsize=9)
    figure.suptitle(f"{network}, T = {SHARES_T}", x=0.01, ha="left", fontsize=11)
    return figure


def _exits(cells: dict[str, Cell]) -> Any:
    figure = figure_class()(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for i, (name, cell) in enumerate(cells.items()):
        steps = [*cell.exit["steps"], EXIT_T]
        heights = [100 * accuracy for accuracy in (*cell.exit["accuracies"], cell.accuracy)]
        axes.plot(steps, heights, color=_COLOURS[i % len(_COLOURS)], marker="o", markersize=3.5,
                  label=name)  # fmt: skip
    axes.set_xlabel("mean steps of an image")
    axes.set_ylabel("accuracy (%)")
    axes.set_title(f"Early exit, {EXIT_METHOD} at T = {EXIT_T}", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="lower right")
    plain(axes)
    return figure


def _save(path: Path, figure: Any) -> Path:
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata={"Software": None})
    return path
