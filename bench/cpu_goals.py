"""The goals of throughput on a CPU, each as a ratio within one table, and whether it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A ratio of two contestants' figures.

    Args:
        what: for a reader.
        model, batch: of the table that holds it; of several threads the most.
        ours, theirs: names of contestants.
        figure: column; a ratio of images/s is ours / theirs, of anything else theirs / ours.
        least: ratio that is wanted.
        isa, torch_isa: of the table, None for the machine's best.
    """

    what: str
    model: str
    batch: int
    ours: str
    theirs: str
    least: float
    figure: str = "ms"
    isa: str | None = None
    torch_isa: str | None = None


GOALS = (
    Goal("ResNet-20, batch 64: times its ANN", "resnet20", 64, "spikeconv-int8", "ann", 1.0),
    Goal("the same: SpikingJelly eager", "resnet20", 64, "spikeconv-int8", "spikingjelly", 35),
    Goal(
        "the same: SpikingJelly compiled",
        "resnet20", 64, "spikeconv-int8", "spikingjelly-compiled", 14,
    ),
    Goal("ResNet-18, batch 16: times its ANN", "resnet18", 16, "spikeconv-int8", "ann", 1.0),
    Goal("VGG-16, batch 16: times its ANN", "vgg16", 16, "spikeconv-int8", "ann", 1.0),
    Goal(
        "ResNet-20, batch 1: the ANN's latency is at least so much of ours",
        "resnet20", 1, "spikeconv-int8", "ann", 1 / 1.5,
    ),
    Goal(
        "ResNet-20, AVX-512 VNNI: times float32 convolutions on T times the images",
        "resnet20", 64, "spikeconv-int8", "convolutions", 6, isa="avx512_vnni",
    ),
    Goal(
        "ResNet-20, AVX2: likewise, torch with all that the machine has",
        "resnet20", 64, "spikeconv-int8", "convolutions", 3, isa="avx2",
    ),
    Goal(
        "ResNet-20, AVX2: likewise, torch held to AVX2 too",
        "resnet20", 64, "spikeconv-int8", "convolutions", 3, isa="avx2", torch_isa="avx2",
    ),
    Goal(
        "ResNet-18, batch 16: the plain loop's peak memory is at least so many times ours",
        "resnet18", 16, "spikeconv-int8", "torch-loop", 4, figure="peak_mb",
    ),
)  # fmt: skip


def judge(tables: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """Every goal with the ratio that was measured, or None where its table or row is missing.

    Args:
        tables: as `throughput.py` writes them: each with `setting` and `rows`.

    Example:
        >>> setting = {"model": "resnet20", "batch": 64, "threads": 1, "isa": None}
        >>> rows = [{"name": "spikeconv-int8", "ms": 2.0}, {"name": "ann", "ms": 3.0}]
        >>> judge([{"setting": setting, "rows": rows}])[0]
        {'goal': 'ResNet-20, batch 64: times its ANN', 'least': 1.0, 'ratio': 1.5, 'reached': True}
    """
    judged: list[dict[str, object]] = []
    for goal in GOALS:
        ratio = _ratio(goal, tables)
        reached = None if ratio is None else ratio >= goal.least
        judged.append({"goal": goal.what, "least": goal.least, "ratio": ratio, "reached": reached})
    return judged


def _ratio(goal: Goal, tables: Sequence[Mapping[str, Any]]) -> float | None:
    same = ("model", "batch", "isa", "torch_isa")
    fitting = [t for t in tables if all(t["setting"].get(k) == getattr(goal, k) for k in same)]
    if not fitting:
        return None
    table = max(fitting, key=lambda t: t["setting"]["threads"])
    rows = {row["name"]: row.get(goal.figure) for row in table["rows"]}
    ours, theirs = rows.get(goal.ours), rows.get(goal.theirs)
    return None if not ours or theirs is None else theirs / ours
