"""Populations from calibration data: thresholds observed, corrections fitted, methods compared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from spikeconv.calibrate import Batches
from spikeconv.calibrate.correct import WITHOUT_IMAGES
from spikeconv.calibrate.inputs import Batch
from spikeconv.calibrate.method import Method
from spikeconv.calibrate.potential import is_random
from spikeconv.convert.choose import choose, comparison_images
from spikeconv.convert.populate import Populations, observe, populate
from spikeconv.convert.tune import aims, tune, tuning_images
from spikeconv.network.analog import run_analog
from spikeconv.network.limits import images_at_once, steps_at_once
from spikeconv.network.program import Program
from spikeconv.network.report import Tried
from spikeconv.network.simulation import Simulation
from spikeconv.network.structure import concatenated
from spikeconv.network.timing import Timing

# Local threshold balancing takes its steps for granted, which fewer images do not bear.
_IMAGES_TO_BALANCE = 128
# Of fewer, a quarter is no image, or one.
_IMAGES_TO_COMPARE = 5


@dataclass(frozen=True)
class Fitted:
    """What calibration came to.

    Attributes:
        populations: of the method that was kept.
        method: that method.
        tried: all that were compared, the best first; none where there was no choice.
    """

    populations: Populations
    method: Method
    tried: tuple[Tried, ...] = ()


def fit(
    program: Program,
    layers: Mapping[str, nn.Module],
    weights: Mapping[str, Tensor],
    batches: Batches,
    methods: Sequence[Method],
    T: int,
    timing: Timing,
    progress: bool,
) -> Fitted:
    """Fit every method to one pass over the calibration data, and keep the best.

    Thresholds are of all calibration images. Where there are several, methods are compared on some
    that no correction was fitted to; where fewer were fitted to than could be, the method that is
    kept is fitted once more, to as many as can be.

    Args:
        program: of the network.
        layers: its layers by name.
        weights: what functions read, by name.
        batches: the calibration data, which this reads to its end.
        methods: one, or several to choose from, of equals the first.
        T: all time-steps, of which `timing` reads some.
        timing: of the network.
        progress: show progress bars.
    """
    read = timing.steps_read(T)
    steps = read + timing.delay  # of the run that is read, its first ones included
    most = tuning_images(program, steps)
    keep = most + comparison_images(program, read)
    histograms, images = observe(program, layers, weights, batches, keep, progress)
    fitted = len(methods) > 1 or bool(set(methods[0].corrections) - WITHOUT_IMAGES)
    if fitted and len(images) < min(keep, batches.images):
        warnings.warn(
            f"convert: corrections are fitted and compared on {len(images)} of {batches.images} "
            "calibration images, those of the first one's size; give images of one size, or more "
            "of the usual one, and these first",
            stacklevel=4,
        )
    if len(methods) > 1 and len(images) < _IMAGES_TO_COMPARE:
        warnings.warn(
            f"convert: of {len(images)} calibration images none or one is left to compare methods "
            "on, so what method='best' keeps may be any of them; give a few hundred, or take "
            "method='opi'",
            stacklevel=4,
        )
    if timing != Timing() and all(set(m.corrections) - WITHOUT_IMAGES for m in methods):
        warnings.warn(
            "convert: corrections are fitted as if srp and cos had changed nothing, and to all "
            "steps after them, a delay included, so they can do harm; leave corrections open, so "
            "that method='best' compares them with none, or measure both",
            stacklevel=4,
        )
    if any(m.granularity == "layer" and "search" in m.corrections for m in methods):
        warnings.warn(
            "convert: granularity='layer' is of the thresholds that corrections='search' starts "
            "from, and it gives every channel its own; for one a layer take 'bias' in its place",
            stacklevel=4,
        )
    if any(is_random(m.v_init) and "search" in m.corrections for m in methods):
        warnings.warn(
            "convert: corrections='search' gives every channel one initial potential, the mean of "
            f"those that v_init={methods[0].v_init!r} draws; to keep these take 'bias' instead",
            stacklevel=4,
        )
    if methods[0].threshold == "balance" and batches.images < _IMAGES_TO_BALANCE:
        warnings.warn(
            f"convert: {batches.images} calibration images are too little data for "
            "threshold='balance', which clips channels that few of them activate; give some "
            "hundred, or take 'mse'",
            stacklevel=4,
        )
    aimed_at = aims(layers, read)

    def make(method: Method, x: Batch) -> Populations:
        made = populate(program, layers, histograms, method, read)
        return tune(program, aimed_at, made, weights, x, steps, method.corrections, progress)

    if len(methods) == 1:
        return Fitted(make(methods[0], images[:most]), methods[0])
    # Where images are few, a quarter of them is for comparing.
    count = min(most, max(1, len(images) * 3 // 4))
    is_held_out = len(images) > count
    held_out = images[count:] if is_held_out else images
    at_once = images_at_once(program, held_out, T, timing)

    def run(made: Populations) -> Any:
        given = program, {**layers, **made.refitted}, made.neurons, weights
        return concatenated(
            Simulation(*given, x, timing).mean_output(T, steps_at_once(program, x))
            for x in held_out.split(at_once)
        )

    wanted = concatenated(
        run_analog(program, aimed_at, weights, x) for x in held_out.split(at_once)
    )
    populations, method, tried = choose(
        methods, lambda method: make(method, images[:count]), run, wanted, progress
    )
    tried = [replace(one, held_out=is_held_out) for one in tried]
    if method.corrections and count < min(most, len(images)):
        populations = make(method, images[:most])
    return Fitted(populations, method, tuple(tried))
