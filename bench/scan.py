"""Which cells are wanted, in which order, which of them are there, and measuring the others."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from accuracy_goals import is_goal
from cells import Cell, Cells, Key, as_exact_as
from measure import measure, measure_ann
from methods import Method, by_name
from trained import Loaded, Network

_BATCH = 200
EXIT_METHOD, EXIT_T = "best", 16
SHARES_METHODS, SHARES_T = ("zero", "opi", "best", "opi-signed"), 8

# Where nothing has been measured yet: images and steps a second of ResNet-20, seconds to convert.
_RATE = 1900.0
_CONVERT = 20.0


@dataclass(frozen=True)
class Task:
    """A cell that is wanted.

    Args:
        network: which network.
        method: name of the method; of several with the same settings the first; ``"ann"``.
        key: of the cell.
        order: tasks are done in this order.
    """

    network: Network
    method: str
    key: Key
    order: tuple[int, ...]

    @property
    def name(self) -> str:
        """For the screen."""
        steps = f", T = {self.key.T}" if self.key.T else ""
        return f"{self.network.name} {self.method}{steps}"

    @property
    def work(self) -> float:
        """Image-steps, in units of ResNet-20's."""
        return self.key.images * max(1, self.key.T) * self.network.cost


def ann_key(
    network: Network, loaded: Loaded, images: int | None, calibration: int | None, seed: int
) -> Key:
    """The key of the ANN's own accuracy, whose settings are empty and whose T is 0.

    Args:
        network: what the tables call it.
        loaded: the network in memory.
        images: test images, None for all.
        calibration: training images, fewer where there are fewer; None for the network's own.
        seed: draws them.
    """
    there = len(loaded.data.test)
    return Key(
        network.name,
        loaded.weights,
        network.dataset,
        there if images is None else min(images, there),
        min(calibration or network.calibration, len(loaded.data.train)),
        seed,
        given=loaded.given,
    )


def cell_key(ann: Key, method: Method, T: int, trained: str | None) -> Key | None:
    """The key of a cell, from its ANN's; None where the method does not go with network or T."""
    settings = method.settings(T, trained)
    if settings is None:
        return None
    return replace(ann, T=T, settings=_as_json(settings), revision=method.revision)


def plan(
    networks: Sequence[tuple[Network, Loaded]],
    methods: Iterable[Method],
    steps: Sequence[int] | None,
    images: int | None,
    calibration: int | None,
    seed: int,
) -> list[Task]:
    """The cells that are wanted, the most important first, none twice.

    Args:
        networks: those that are there.
        methods: rows.
        steps: T, or None for those of each method.
        images: test images, None for all.
        calibration: training images, fewer where there are fewer; None for the network's own.
        seed: draws them.
    """
    tasks: dict[str, Task] = {}
    for place, (network, loaded) in enumerate(networks):
        ann = ann_key(network, loaded, images, calibration, seed)
        tasks[ann.text()] = Task(network, "ann", ann, (-1, place))
        for row, method in enumerate(methods):
            for T in method.steps if steps is None else steps:
                key = cell_key(ann, method, T, loaded.trained)
                if key is None:
                    continue
                goal = is_goal(network.name, method.name, T)
                rank = 0 if goal else _rank(method, T)
                task = Task(network, method.name, key, (rank, place, T, row))
                before = tasks.get(key.text())
                if before is None or task.order < before.order:
                    tasks[key.text()] = task
    return sorted(tasks.values(), key=lambda task: task.order)


def _rank(method: Method, T: int) -> int:
    """After the goals: all methods at the T that matter most, then what costs more or says less."""
    late = {4: 0, 8: 0, 16: 0, 2: 1, 32: 1, 1: 1}.get(T, 6)
    return method.rank + late + 1


def missing(tasks: Iterable[Task], cells: Cells, arithmetic: str) -> list[Task]:
    """The tasks without a cell on as many images that was run as exactly.

    Args:
        tasks: cells that are wanted.
        cells: those that are there.
        arithmetic: what they would be run in.
    """
    there = as_exact_as(arithmetic)
    found = ((task, cells.best(task.key, there)) for task in tasks)
    return [task for task, cell in found if cell is None or cell.images < task.key.images]


def estimate(tasks: Iterable[Task], cells: Cells, arithmetic: str) -> float:
    """Seconds that tasks will take, from those that cells took.

    Args:
        tasks: what is to be measured.
        cells: those that are there.
        arithmetic: what it will be run in; cells in another one do not count.
    """
    rates: dict[str, list[float]] = {}
    converting: dict[bool, list[float]] = {}
    for key, cell in cells:
        if key.T and cell.arithmetic == arithmetic:
            rates.setdefault(key.network, []).append(cell.seconds["run"] / (cell.images * key.T))
            chooses = key.settings["corrections"] != []
            converting.setdefault(chooses, []).append(cell.seconds["convert"])
    total = 0.0
    for task in tasks:
        rate = statistics.median(rates.get(task.network.name, [task.network.cost / _RATE]))
        total += task.key.images * max(1, task.key.T) * rate
        if task.key.T:
            chooses = task.key.settings["corrections"] != []
            total += statistics.median(converting.get(chooses, [_CONVERT * (chooses + 0.2)]))
    return total


def run(
    tasks: Sequence[Task],
    loaded: Mapping[str, Loaded],
    cells: Cells,
    made: Mapping[str, Any],
    arithmetic: str,
    device: torch.device,
) -> None:
    """Measure cells, and add each to `cells` as soon as it is done.

    Args:
        tasks: what is to be measured, in order.
        loaded: name -> network.
        cells: takes the results.
        made: machine, commit and time, for the cells.
        arithmetic: of all networks that have it.
        device: where networks run.
    """
    calibration: dict[tuple[str, int, int], Tensor] = {}
    with tqdm(
        total=sum(task.work for task in tasks),
        unit=" image-steps",
        unit_scale=True,
        disable=not tasks,
        mininterval=0.5 if sys.stderr.isatty() else 30,
    ) as bar:
        for task in tasks:
            bar.set_description(task.name, refresh=sys.stderr.isatty())
            network, key = loaded[task.network.name], task.key
            ann = network.ann.to(device)
            images = network.data.test.batches(_BATCH, key.images)

            def advance(count: int, task: Task = task) -> None:
                bar.update(count * task.work / task.key.images)

            if key.T == 0:
                cell = measure_ann(ann, images, made, advance)
            else:
                drawn = task.network.name, key.calibration, key.seed
                if drawn not in calibration:
                    sample = network.data.train.sample(key.calibration, key.seed)
                    calibration = {drawn: sample.to(device)}
                cell = measure(
                    ann,
                    calibration[drawn],
                    images,
                    key.T,
                    key.settings,
                    key.seed,
                    made,
                    advance,
                    arithmetic=arithmetic,
                    with_shares=key.T == SHARES_T and _one_of(task, SHARES_METHODS, network),
                    with_exit=key.T == EXIT_T and _one_of(task, (EXIT_METHOD,), network),
                )
            cells.add(key, cell)
            bar.write(f"{task.name}: {100 * cell.accuracy:.2f} % {_took(cell)}", file=sys.stdout)


def _one_of(task: Task, names: Sequence[str], network: Loaded) -> bool:
    """Whether one of these methods has the settings of the task, whatever it is called there."""
    settings = (by_name(name).settings(task.key.T, network.trained) for name in names)
    return any(one is not None and _as_json(one) == task.key.settings for one in settings)


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def _took(cell: Cell) -> str:
    parts = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in cell.seconds.items())
    return f"of {cell.images:,} images ({parts})"
