"""The quick run: a few cells anew on some of the images, beside the committed full table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cells import Cell, Cells, Key
from methods import Method, by_name
from report import table
from scan import Task

IMAGES = 2000
NETWORKS = ("resnet20-shared", "resnet20-cifar10-qcfs", "vgg16-cifar10-clip")
CELLS: dict[str, tuple[int, ...]] = {
    "opi": (4, 8, 16),
    "opi-signed": (4,),
    "best": (4,),
    "best-signed": (4,),
    "zero": (16,),
    "bias": (8,),
    "srp": (8,),
    "cos": (8,),
    "max": (8,),
}
"""Method -> T."""

LARGE = {"vgg16-cifar10-clip": ("ann", "opi")}
"""Networks of which other methods would take minutes -> methods."""

ERRORS = 3.0
"""Standard errors that a difference may have."""


def methods() -> list[Method]:
    """The rows, with the T that are measured."""
    return [replace(by_name(name), steps=steps) for name, steps in CELLS.items()]


def kept(tasks: Sequence[Task]) -> list[Task]:
    """Those of all methods that are measured: of large networks the ones that take seconds."""
    return [task for task in tasks if task.method in LARGE.get(task.network.name, (task.method,))]


@dataclass(frozen=True)
class Compared:
    """A cell here and in the full table.

    Args:
        task: the cell.
        here: on a part of the images.
        full: on all, or None where the table lacks it.
    """

    task: Task
    here: Cell
    full: Cell | None

    @property
    def difference(self) -> float | None:
        """Of the accuracies, here less there."""
        return None if self.full is None else self.here.accuracy - self.full.accuracy

    @property
    def agrees(self) -> bool:
        """Whether the difference is one that the choice of images explains."""
        if self.full is None or self.difference is None:
            return True
        return abs(self.difference) <= error_bar(self.full, self.here.images)


def error_bar(full: Cell, images: int) -> float:
    """How far the accuracy on a part of the images may be from that on all of them.

    ::

        3 * sqrt(p * (1 - p) * (1 / n - 1 / N)),   p = (right + 1) / (N + 2)

    the standard error of a share of n drawn out of N without putting back. p is drawn away from 0
    and 1 a little, where the error would be 0.

    Args:
        full: on N images.
        images: n.

    >>> round(error_bar(Cell(8000, 10000), 2000), 4)
    0.024
    >>> error_bar(Cell(8000, 10000), 10000)
    0.0
    """
    share = (full.correct + 1) / (full.images + 2)
    variance = share * (1 - share) * max(0.0, 1 / images - 1 / full.images)
    return ERRORS * math.sqrt(variance)


def compare(tasks: Sequence[Task], here: Cells, full: Cells) -> list[Compared]:
    """The cells of tasks that were measured, each beside the full table's."""
    found = ((task, here.best(task.key)) for task in tasks)
    return [
        Compared(task, cell, _counterpart(full, task.key, cell))
        for task, cell in found
        if cell is not None
    ]


def _counterpart(full: Cells, key: Key, here: Cell) -> Cell | None:
    """The full table's cell, run in the same way if there is one; None on fewer images."""
    found = full.best(key, [here.arithmetic]) or full.best(key)
    return found if found is not None and found.images >= here.images else None


def verdict(compared: Sequence[Compared]) -> tuple[str, bool]:
    """A table of all cells, and whether every cell that can be compared agrees, and one can."""
    rows = []
    for one in compared:
        bar = None if one.full is None else 100 * error_bar(one.full, one.here.images)
        rows.append(
            {
                "cell": one.task.name,
                "here": _percent(one.here.accuracy),
                "full table": None if one.full is None else _percent(one.full.accuracy),
                "difference": None if one.difference is None else f"{100 * one.difference:+.2f}",
                "may be": None if bar is None else f"{bar:.2f}",
                "": "not in the table" if one.full is None else "" if one.agrees else "OUTSIDE",
            }
        )
    comparable = [one for one in compared if one.full is not None]
    wrong = [one for one in comparable if not one.agrees]
    summary = (
        f"{len(comparable)} cells compared, {len(wrong)} outside of {ERRORS:g} standard errors"
        if comparable
        else "the full table has none of these cells: there is nothing to compare with"
    )
    columns = ("cell", "here", "full table", "difference", "may be", "")
    return f"{table(rows, columns)}\n\n{summary}", bool(comparable) and not wrong


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
