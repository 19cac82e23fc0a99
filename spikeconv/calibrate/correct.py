"""Corrections by name: what is fitted, layer by layer, to the spike trains that really arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spikeconv.calibrate.bias_correction import bias_correction
from spikeconv.calibrate.potential_correction import channel_potential, neuron_potential
from spikeconv.calibrate.rts import rts
from spikeconv.calibrate.sample import LayerSample
from spikeconv.calibrate.search import search
from spikeconv.calibrate.step_bias import step_bias
from spikeconv.neuron import IFNode

WEIGHTS = "weights"
"""The correction that changes the layer before the neurons: `spikeconv.calibrate.weights`."""

Correction = Callable[[IFNode, LayerSample], IFNode]

CORRECTIONS: dict[str, Correction] = {
    "rts": rts,
    "bias": bias_correction,
    "potential": neuron_potential,
    "potential-channel": channel_potential,
    "step-bias": step_bias,
    "search": search,
}
"""Those that change the neurons alone."""

CORRECTION_NAMES = (*CORRECTIONS, WEIGHTS)

WITHOUT_IMAGES = frozenset({"rts"})
"""Those that look at no image."""


def check_corrections(names: Sequence[str]) -> tuple[str, ...]:
    """The names, if all are known.

    Raises:
        TypeError: a string or something else, where a sequence of names is wanted.
        ValueError: an unknown name, or one twice.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"convert: corrections must be a sequence of names, got {names!r}")
    for name in names:
        if name not in CORRECTION_NAMES:
            known = ", ".join(map(repr, CORRECTION_NAMES))
            raise ValueError(f"convert: corrections must be among {known}, got {name!r}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"convert: corrections must be different ones, got {twice[0]!r} twice")
    return tuple(names)
