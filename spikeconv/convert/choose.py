"""method="best": which combination of methods to take, from calibration data alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tqdm import tqdm

from spikeconv.calibrate.method import Method
from spikeconv.calibrate.potential import is_random
from spikeconv.convert.populate import Populations
from spikeconv.network.layers import Rectifier
from spikeconv.network.program import Program
from spikeconv.network.report import Tried
from spikeconv.network.structure import tensors

# What is tried, the simplest first. The search gives every channel a threshold and a start of its
# own, so it is not for those who want one threshold a layer, or a start that is drawn.
_CORRECTIONS: tuple[tuple[str, ...], ...] = ((), ("bias",), ("weights", "search"))
_WITHOUT_SEARCH: tuple[tuple[str, ...], ...] = ((), ("bias",), ("weights", "bias"))

# With more steps than these a spike is worth so little that neurons have nothing left to correct.
# What is lost then is lost by those that would have to fire at every step, for want of headroom,
# and by spikes of the first steps that come too early, which the next layer's weights make up for.
_LARGEST_T = 64
_OF_MANY_STEPS: tuple[tuple[str, ...], ...] = ((), ("weights",))
_HEADROOM = 0.1
_TRAINED = ("tcl", "qcfs")

# Combinations are compared on so many images; on fewer where that is more work than so many values
# of the widest layer at all steps.
_IMAGES = 256
_WORK = 2**30


def comparison_images(program: Program, T: int) -> int:
    """How many images combinations are compared on, 1 or more."""
    return max(1, min(_IMAGES, _WORK // max(1, program.widest * T)))


def trained_threshold(rectifiers: Iterable[Rectifier]) -> str | None:
    """The method that takes the bounds a network was trained with; None where it has none."""
    found = list(rectifiers)
    if not all(rectifier.trained for rectifier in found):
        return None
    return "qcfs" if all(rectifier.levels for rectifier in found) else "tcl"


@dataclass(frozen=True)
class LeftOpen:
    """What the user did not settle."""

    threshold: bool = True
    corrections: bool = True
    headroom: bool = True


def candidates(given: Method, left_open: LeftOpen, trained: str | None, T: int) -> list[Method]:
    """The combinations in question, the first of which is the paper's.

    Args:
        given: what the user asked for, and the default of what was left open.
        left_open: what may differ from it.
        trained: as `trained_threshold`.
        T: steps that are read out.
    """
    thresholds = [given.threshold]
    if left_open.threshold and trained is not None:
        thresholds = [trained, given.threshold]
    corrections: Sequence[tuple[str, ...]] = [given.corrections]
    if left_open.corrections:
        searched = given.granularity == "channel" and not is_random(given.v_init)
        few = _CORRECTIONS if searched else _WITHOUT_SEARCH
        corrections = few if T <= _LARGEST_T else _OF_MANY_STEPS
    headrooms = [given.headroom]
    if left_open.headroom and T > _LARGEST_T:
        headrooms = [given.headroom, _HEADROOM]
    return [
        replace(given, threshold=t, corrections=c, headroom=h)
        for t in thresholds
        for c in corrections
        for h in headrooms
        if t not in _TRAINED or h == given.headroom  # such a bound is a cap: none is above it
    ]


def choose(
    methods: Sequence[Method],
    make: Callable[[Method], Populations],
    run: Callable[[Populations], Any],
    wanted: Any,
    progress: bool,
) -> tuple[Populations, Method, list[Tried]]:
    """The populations of the method whose outputs are nearest to the ANN's, and all that was tried.

    Args:
        methods: the combinations; the first of equals wins.
        make: from a combination to populations.
        run: from populations to the spiking network's output on images held out from `make`.
        wanted: on them the ANN's output, or that of what `spikeconv.convert.tune.aims` makes of it.
        progress: show a progress bar.

    Returns:
        The populations, their method, and all combinations with their errors, the best one first.
    """
    best: tuple[float, Populations, Method] | None = None
    tried: list[Tried] = []
    for method in tqdm(methods, "choosing", disable=not progress, unit="method"):
        made = make(method)
        error = relative_error(run(made), wanted)
        tried.append(Tried(str(method), error))
        if best is None or error < best[0]:
            best = error, made, method
    assert best is not None
    return best[1], best[2], sorted(tried, key=lambda one: one.error)


def relative_error(given: Any, wanted: Any) -> float:
    """||given - wanted|| / ||wanted|| over all tensors of two outputs of one structure.

    Integers, such as a class, have no distance and do not count. Infinity where an output is
    broken: such a combination is never the best.

    >>> import torch
    >>> logits, classes = torch.tensor([[3.0, 4.0]]), torch.tensor([1])
    >>> f"{relative_error((logits + 1, 1 - classes), (logits, classes)):.4f}"
    '0.2828'
    """
    both = zip(tensors(given), tensors(wanted), strict=True)
    pairs = [(a.double(), b.double()) for a, b in both if b.is_floating_point()]
    distance = sum(float((a - b).square().sum()) for a, b in pairs)
    size = sum(float(b.square().sum()) for _, b in pairs)
    if not math.isfinite(distance):
        return math.inf
    return math.sqrt(distance / size) if size else float(distance > 0)
