"""How the cost of one fused network grows with T and with the batch: figures and a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from spikeconv.plot import figure_class
from timing import Stopwatch, interleaved

STEPS = (1, 2, 4, 8, 16, 32)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)

Curve = dict[int, float]
"""Milliseconds of a call by T, or by the number of images."""


def measure_curves(
    network: Callable[..., Tensor],
    images: Tensor,
    T: int,
    stopwatch: Stopwatch,
    *,
    batch: int,
    steps: Sequence[int] = STEPS,
    batches: Sequence[int] = BATCHES,
    rounds: int = 5,
) -> dict[str, Curve]:
    """Milliseconds over T with `batch` images, and over the images with T steps.

    Args:
        network: called as ``network(x, T=T)``.
        images: at least as many as the largest batch.
    """
    tasks = {f"T {t}": partial(network, images[:batch], T=t) for t in steps}
    tasks |= {f"batch {n}": partial(network, images[:n], T=T) for n in batches}
    with torch.no_grad():
        times = interleaved(tasks, rounds, stopwatch, warmup=2)
    return {
        "T": {t: times[f"T {t}"].median * 1e3 for t in steps},
        "batch": {n: times[f"batch {n}"].median * 1e3 for n in batches},
    }


def growth(curve: Curve) -> str:
    """A line: cost per step or image, as times of the largest's.

    >>> growth({1: 2.0, 2: 2.2, 4: 4.0})
    '1: 2.000, 2: 1.100, 4: 1.000'
    """
    last = max(curve)
    each = {n: ms / n for n, ms in curve.items()}
    return ", ".join(f"{n}: {each[n] / each[last]:.3f}" for n in curve)


def plot_curves(path: Path, curves: Mapping[str, Curve], title: str) -> None:
    """Both curves beside lines of proportional cost, on axes that double, to a PNG or SVG."""
    figure = figure_class()(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=False)
    for axis, (name, curve) in zip(axes, curves.items(), strict=True):
        values, largest = list(curve), max(curve)
        proportional = [curve[largest] * n / largest for n in values]
        axis.plot(values, proportional, color="0.6", linestyle="--", label="in proportion")
        axis.plot(values, list(curve.values()), marker="o", color="C0", label="measured")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(values, [str(n) for n in values])
        axis.set_xlabel("time-steps T" if name == "T" else "images of a call")
        axis.set_ylabel("milliseconds of a call")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=160)
