"""One cell of the accuracy table: convert for T steps, run the test images, count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from cells import ARITHMETICS, Cell
from spikeconv.convert import SpikingNetwork, convert
from spikeconv.data import Batches
from spikeconv.early_exit import ExitCounter
from spikeconv.metrics import correct
from spikeconv.network.error_shares import error_shares

_SHARES_IMAGES = 32
Advance = Callable[[int], object]


@torch.inference_mode()
def measure_ann(ann: nn.Module, images: Batches, made: Mapping[str, Any], advance: Advance) -> Cell:
    """The ANN's own accuracy; `advance` is told of images that are done."""
    start = perf_counter()
    right = 0
    device = next(ann.parameters()).device
    for x, labels in images:
        right += int(correct(ann(x.to(device)), labels.to(device)))
        advance(len(labels))
    return Cell(right, images.count, seconds={"run": _round(perf_counter() - start)}, made=made)


def measure(
    ann: nn.Module,
    calibration: Tensor,
    images: Batches,
    T: int,
    settings: Mapping[str, Any],
    seed: int,
    made: Mapping[str, Any],
    advance: Advance,
    *,
    arithmetic: str = ARITHMETICS[0],
    with_shares: bool = False,
    with_exit: bool = False,
) -> Cell:
    """The accuracy after exactly T steps of a network that is converted for T.

    Args:
        ann: in eval mode.
        calibration: training images, on the device of `ann`.
        images: test images.
        T: all steps, those before the readout included.
        settings: further arguments of `spikeconv.convert`.
        seed: draws random potentials.
        made: what the cell says of machine and commit.
        advance: told of images that are done.
        arithmetic: `float32` for the simulation, else the precision of the integer program; layers
            that have no integer form run in the simulation then too.
        with_shares: also measure the shares of every layer's error, on calibration images.
        with_exit: also measure accuracy against mean steps of early exit.
    """
    start = perf_counter()
    snn = convert(ann, calibration, T=T, seed=seed, progress=False, **settings)
    middle = perf_counter()
    tested, arithmetic = _in_arithmetic(snn, arithmetic)
    report = snn.report()
    right = 0
    exits = ExitCounter()
    with torch.inference_mode():
        for x, labels in images:
            x, labels = x.to(calibration.device), labels.to(calibration.device)
            if with_exit:
                every_step = tested(x, readout="all")
                exits.add(every_step, labels)
                right += int(correct(every_step[-1], labels))
            else:
                right += int(correct(tested(x), labels))
            advance(len(labels))
    end = perf_counter()
    return Cell(
        right,
        images.count,
        snn.timing.before,
        {"convert": _round(middle - start), "run": _round(end - middle)},
        made,
        {key: value for key, value in report.settings.items() if key != "calibration_images"},
        [[one.method, _round(one.error)] for one in report.tried],
        _shares(snn, calibration) if with_shares and not snn.timing.before else {},
        asdict(exits.curve()) if with_exit else {},
        arithmetic,
    )


def _in_arithmetic(snn: SpikingNetwork, arithmetic: str) -> tuple[SpikingNetwork, str]:
    """The network to run, and its arithmetic: the simulation's if no layer has an integer form."""
    if arithmetic == ARITHMETICS[0]:
        return snn, arithmetic
    fused = snn.fuse(arithmetic)
    if all(path.startswith("float") for path in fused.report().paths.values()):
        return snn, ARITHMETICS[0]
    return fused, arithmetic


def _shares(snn: SpikingNetwork, calibration: Tensor) -> dict[str, dict[str, float]]:
    """The shares of every layer's error on some calibration images, to four digits."""
    return {
        layer: {name: round(value, 4) for name, value in shares.items()}
        for layer, shares in error_shares(snn, calibration[:_SHARES_IMAGES]).items()
    }


def _round(value: float) -> float:
    return float(f"{value:.4g}")
