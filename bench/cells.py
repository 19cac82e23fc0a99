"""Measured cells: one line of JSON each in a file that only grows, so a run can stop anywhere."""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

VERSION = 1
"""Raise it when all cells have to be measured anew; for one method, raise its revision."""

_BEGIN = b'{"key": {'

ARITHMETICS = ("float32", "int24", "int16", "int8")
"""What networks are run in, the most exact first: the simulation, or the integer program."""


def as_exact_as(arithmetic: str) -> tuple[str, ...]:
    """The `ARITHMETICS` that are at least as exact.

    >>> as_exact_as("int16")
    ('float32', 'int24', 'int16')
    """
    return ARITHMETICS[: ARITHMETICS.index(arithmetic) + 1]


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
        given: of a network that is no part of the table, what its user says of it and of its data.
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
    given: Mapping[str, Any] = field(default_factory=dict)

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
        arithmetic: one of `ARITHMETICS`.
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
    arithmetic: str = ARITHMETICS[0]

    @property
    def accuracy(self) -> float:
        """0 to 1."""
        return self.correct / self.images

    @property
    def worth(self) -> tuple[int, int]:
        """The larger, the better known its number: by images, then by arithmetic."""
        return self.images, -ARITHMETICS.index(self.arithmetic)


class Cells:
    """All cells of a file, and new ones, each written when it is added.

    Two runs may add to one file at once. Of two cells of one key and arithmetic the later counts.

    Args:
        path: the file, which need not exist, or None to keep cells in memory only.

    Raises:
        ValueError: a line of the file is no cell; names the line. Of the last one the beginning,
            as a run leaves that was cut off, does not count, and the next cell takes its place.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._cells: dict[tuple[str, str], tuple[Key, Cell]] = {}
        self._best: dict[tuple[str, str], Cell] = {}
        if path is not None and path.exists():
            content = path.read_bytes()
            half = _half_line(content)
            if half:
                warnings.warn(
                    f"{path}: its last line is cut off, so that cell is measured again",
                    stacklevel=2,
                )
            for key, cell in _read(path, content[: len(content) - half]):
                self._keep(key, cell)

    def best(self, key: Key, arithmetics: Sequence[str] = ARITHMETICS) -> Cell | None:
        """The cell of this key on most images, of equals the most exact.

        Args:
            key: its number of images does not count.
            arithmetics: those that do.
        """
        text = _without_images(key)
        found = (self._best.get((text, arithmetic)) for arithmetic in arithmetics)
        cells = [cell for cell in found if cell is not None]
        return max(cells, key=lambda cell: cell.worth) if cells else None

    def newest(self, network: str, seed: int) -> list[Key]:
        """The keys of a network's cells of that seed and of its newest weights, the newest last."""
        keys = [key for key, _ in self if (key.network, key.seed) == (network, seed)]
        return [key for key in keys if key.weights == keys[-1].weights]

    def add(self, key: Key, cell: Cell) -> None:
        """Keep a cell, on disk before this returns."""
        self._keep(key, cell)
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": asdict(key), "cell": asdict(cell)}, allow_nan=False) + "\n"
        # Append-only, and one at a time: neither Ctrl-C nor another run can get in between.
        with self.path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            content = _tail(file)
            if half := _half_line(content):
                file.truncate(file.tell() - half)
            elif content and not content.endswith(b"\n"):
                line = "\n" + line
            size = os.fstat(file.fileno()).st_size
            written = os.write(file.fileno(), line.encode())
            if written != len(line.encode()):
                file.truncate(size)
                raise OSError(f"{self.path}: the disk took {written} of {len(line)} bytes")
            os.fsync(file.fileno())

    def _keep(self, key: Key, cell: Cell) -> None:
        self._cells.pop((key.text(), cell.arithmetic), None)  # the order is that of measuring
        self._cells[key.text(), cell.arithmetic] = key, cell
        place = _without_images(key), cell.arithmetic
        if (found := self._best.get(place)) is None or cell.images >= found.images:
            self._best[place] = cell

    def __iter__(self) -> Iterator[tuple[Key, Cell]]:
        return iter(self._cells.values())

    def __len__(self) -> int:
        return len(self._cells)


def _without_images(key: Key) -> str:
    return replace(key, images=0).text()


def _tail(file: BinaryIO) -> bytes:
    """The last line of a file, and its position moved to the end."""
    size = file.seek(0, os.SEEK_END)
    length = 2**16
    while True:
        file.seek(max(0, size - length))
        content = file.read()
        if length >= size or b"\n" in content[:-1]:
            return content[content.rfind(b"\n", 0, -1) + 1 :]
        length *= 2


def _half_line(content: bytes) -> int:
    """Bytes of a last line that a run which was cut off has not written to its end; it is none."""
    last = content[content.rfind(b"\n") + 1 :]
    if last[: len(_BEGIN)] != _BEGIN[: len(last)]:
        return 0  # not one of ours
    try:
        json.loads(last or b"0")
    except ValueError:
        return len(last)
    return 0


def _read(path: Path, text: bytes) -> Iterator[tuple[Key, Cell]]:
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            key, cell = Key(**content["key"]), Cell(**content["cell"])
            whole = 0 <= cell.correct <= cell.images > 0 and cell.arithmetic in ARITHMETICS
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(path, number, f"{type(error).__name__}: {error}") from error
        if not whole:
            found = f"{cell.correct} of {cell.images} images right in {cell.arithmetic}"
            raise _damaged(path, number, found)
        yield key, cell


def _damaged(path: Path, number: int, reason: str) -> ValueError:
    return ValueError(
        f"{path}, line {number}: wanted a measured cell, found something else ({reason}). Delete "
        "the line, and what it held is measured again"
    )
