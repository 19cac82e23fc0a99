"""Thresholds by name: the table of methods, and what happens to channels that were never active."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor

from spikeconv.calibrate.balance import balance
from spikeconv.calibrate.histogram import ChannelHistogram
from spikeconv.calibrate.layer import Layer
from spikeconv.calibrate.maximum import maximum
from spikeconv.calibrate.mse import mse
from spikeconv.calibrate.mse_closed import mse_closed
from spikeconv.calibrate.percentile import percentile
from spikeconv.calibrate.qcfs import qcfs
from spikeconv.calibrate.tcl import tcl

GRANULARITIES = ("layer", "channel")
MOST_HEADROOM = 10

# From a layer to a threshold for every channel of its histogram: float32 [C], 0 where the
# method has none to give.
THRESHOLDS: dict[str, Callable[[Layer], Tensor]] = {
    "max": maximum,
    "percentile": percentile,
    "mse": mse,
    "mse-closed": mse_closed,
    "balance": balance,
    "tcl": tcl,
    "qcfs": qcfs,
}


def check_options(threshold: str, granularity: str, percent: float, headroom: float) -> None:
    """Raise ValueError for an option that is not known."""
    if not isinstance(threshold, str) or threshold not in THRESHOLDS:
        known = ", ".join(map(repr, THRESHOLDS))
        raise ValueError(f"convert: threshold must be one of {known}, got {threshold!r}")
    if granularity not in GRANULARITIES:
        known = ", ".join(map(repr, GRANULARITIES))
        raise ValueError(f"convert: granularity must be one of {known}, got {granularity!r}")
    for name, value in (("percentile", percent), ("headroom", headroom)):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"convert: {name} must be a number, got {value!r}")
    if not 0 < percent <= 100:
        raise ValueError(f"convert: percentile must be above 0 and at most 100, got {percent!r}")
    if not 0 <= headroom <= MOST_HEADROOM:
        raise ValueError(
            f"convert: headroom, in units of theta, must be from 0 to {MOST_HEADROOM}, "
            f"got {headroom!r}"
        )


def thresholds(
    histogram: ChannelHistogram,
    *,
    threshold: str,
    granularity: str,
    T: int,
    start: float,
    percent: float,
    headroom: float = 0.0,
    cap: float = math.inf,
    levels: int | None = None,
    label: str = "",
) -> tuple[Tensor, int]:
    """Positive thresholds ``[C]``, or ``[1]`` per layer, and how many channels were never active.

    A channel that was never active gets the layer's largest threshold, under which a stray current
    has least effect; a layer without any activity gets 1. A trained bound is the threshold of every
    channel, active or not. Headroom is added last, and no threshold is above the cap.

    Args:
        histogram: the layer's currents, cut at the cap.
        threshold: a name in `THRESHOLDS`.
        granularity: ``"channel"`` or ``"layer"``.
        headroom: added to every threshold, in units of it: what a neuron that would have to fire
            at every step has left to make up for currents that reach it late.
        T, start, percent, cap, levels, label: as in `Layer`.

    Raises:
        ValueError: the method needs a trained bound or step that the layer has not.
    """
    source = histogram.merged() if granularity == "layer" else histogram
    theta = THRESHOLDS[threshold](Layer(source, T, start, percent, cap, levels, label))
    # A percentile can be 0 for a channel that is rarely active; its largest activation is not.
    theta = torch.where(theta > 0, theta, source.largest)
    fallback = theta.max() if bool(theta.max() > 0) else torch.ones_like(theta.max())
    theta = (torch.where(theta > 0, theta, fallback) * (1 + headroom)).clamp(max=cap)
    return theta, int((histogram.largest <= 0).sum())
