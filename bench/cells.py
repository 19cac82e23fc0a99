"""Measured cells: one line of JSON each in a file that only grows, so a run can stop anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

VERSION = 1
"""Raise it when all cells have to be measured anew; for one method, raise its revision."""


@dataclass(frozen=True)
class Key:
    """All that a cell's number depends on, besides rounding.

    Args:
        network: name of the network.
        weights: hash of its file.
        dataset: name.
        images: test images that are measured on, evenly spaced.
        calibration: training images that it is calibrated on.
        seed: draws them, and random potentials.
        T: all steps; 0 for the ANN.
        settings: arguments of `spikeconv.convert`, as JSON has them; empty for the ANN.
        revision: of the method.
        version: of all cells.
    """

    network: str
    weights: str
    dataset: str
    images: int
    calibration: int
    seed: int
    T: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 1
    version: int = VERSION

    def text(self) -> str:
        """The key as one string, equal for equal keys."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Cell:
    """What was measured.

    Args:
        correct: images whose class was right.
        images: images measured.
        before: steps of T that came before the readout.
        seconds: of conversion and of the run.
        made: machine, commit and time.
        chosen: settings that the conversion settled on.
        tried: combinations that ``method="best"`` compared, with their errors.
        shares: layer -> shares of its error, where they were measured.
        exit: confidences, mean steps and accuracies of early exit, where it was measured.
    """

    correct: int
    images: int
    before: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    tried: list[list[Any]] = field(default_factory=list)
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    exit: Mapping[str, list[float]] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """0 to 1."""
        return self.correct / self.images


class Cells:
    """All cells of a file, and new ones, each written when it is added.

    Two runs may add to one file at once. Of two cells of one key the later counts.

    Args:
        path: the file, which need not exist, or None to keep cells in memory only.

    Raises:
        ValueError: a line of the file is no cell; names the line.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._cells: dict[str, tuple[Key, Cell]] = {}
        self._widest: dict[str, Cell] = {}
        if path is not None and path.exists():
            for key, cell in _read(path):
                self._keep(key, cell)

    def get(self, key: Key) -> Cell | None:
        """The cell, if it has been measured."""
        found = self._cells.get(key.text())
        return None if found is None else found[1]

    def most_images(self, key: Key) -> Cell | None:
        """The cell of this key that was measured on most images, whatever number the key says."""
        return self._widest.get(_without_images(key))

    def add(self, key: Key, cell: Cell) -> None:
        """Keep a cell, on disk before this returns."""
        self._keep(key, cell)
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": asdict(key), "cell": asdict(cell)}, allow_nan=False) + "\n"
        # One write to the end of the file: neither Ctrl-C nor another run can get in between.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if written != len(line.encode()):
            raise OSError(f"{self.path}: the disk took {written} of {len(line)} bytes; is it full?")

    def _keep(self, key: Key, cell: Cell) -> None:
        self._cells[key.text()] = key, cell
        found = self._widest.get(_without_images(key))
        if found is None or cell.images >= found.images:
            self._widest[_without_images(key)] = cell

    def __iter__(self) -> Iterator[tuple[Key, Cell]]:
        return iter(self._cells.values())

    def __len__(self) -> int:
        return len(self._cells)


def _without_images(key: Key) -> str:
    return replace(key, images=0).text()


def _read(path: Path) -> Iterator[tuple[Key, Cell]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            content = json.loads(line)
            key, cell = Key(**content["key"]), Cell(**content["cell"])
            whole = 0 <= cell.correct <= cell.images and cell.images > 0
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(path, number, f"{type(error).__name__}: {error}") from error
        if not whole:
            raise _damaged(path, number, f"{cell.correct} of {cell.images} images right")
        yield key, cell


def _damaged(path: Path, number: int, reason: str) -> ValueError:
    return ValueError(
        f"{path}, line {number}: wanted a measured cell, found something else ({reason}). Delete "
        "the line, and what it held is measured again"
    )
