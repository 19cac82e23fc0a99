"""Membrane potentials of a layer: some neurons in time, and where all of them end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from spikeconv.network.recording import LayerRecording, Recording
from spikeconv.plot.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PURPLE,
    VERMILLION,
    caption,
    new_figure,
    plain,
    step_ticks,
)

_STYLES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "D"), (PURPLE, "^"))
# Silent neurons sink without end; what they do below this is of no interest.
_LOWEST, _HIGHEST = -2.0, 3.0
_BINS = 40


def draw_membrane(
    recording: Recording,
    layers: Sequence[LayerRecording],
    image: int = 0,
    title: str | None = None,
) -> Any:
    """A row for each layer: traces of a few neurons on one image, and a histogram of the last v.

    Potentials are in units of each neuron's threshold, after the step's reset; marks are spikes.
    Beside the traces stand all recorded neurons on all images after the last step: what is far
    above 0 was left over.

    Args:
        recording: says when neurons start anew, and from when on they are read.
        layers: some of it, at least one.
        image: which of the recorded ones.
        title: of the whole figure.
    """
    figure = new_figure(9.0, 0.6 + 2.3 * len(layers), title)
    panels = figure.subplots(
        len(layers), 2, squeeze=False, sharey="row", sharex="col", width_ratios=[3.2, 1]
    )
    for (traces, ends), layer in zip(panels, layers, strict=True):
        traced = _traces(traces, layer, image, recording)
        last = _in_thresholds(layer, layer.v[-1]).flatten()
        seen = torch.cat([last.quantile(torch.tensor([0.01, 0.99], dtype=torch.float64)), traced])
        low = max(_LOWEST, min(float(seen.min()), 0.0))
        high = min(_HIGHEST, max(float(seen.max()), 1.0))
        _ends(ends, last, low, high)
        traces.set_ylim(low - 0.1, high + 0.1)
    panels[0][0].set_title("marks: spikes; dashes: threshold", loc="right", fontsize=8, color=GREY)
    panels[-1][0].set_xlabel("time-step", fontsize=9)
    panels[-1][1].set_xlabel("neurons after the last step (%)", fontsize=9)
    return figure


def _traces(axes: Any, layer: LayerRecording, image: int, recording: Recording) -> Tensor:
    """Draw some neurons; returns their potentials in units of theta."""
    spikes, potentials = layer.spikes[:, image], _in_thresholds(layer, layer.v[:, image])
    start = _in_thresholds(layer, layer.v_init)
    chosen = _typical(spikes)
    for n, (colour, marker) in zip(chosen, _STYLES, strict=False):
        for first, end in pairwise((*recording.starts, recording.T)):
            # An initial potential stands before the first step; COS's are not known.
            v = ([float(start[n])] if first == 0 else []) + potentials[first:end, n].tolist()
            axes.plot(range(end - len(v) + 1, end + 1), v, color=colour, linewidth=1.2)
        fired = (spikes[:, n] != 0).nonzero().flatten()
        axes.plot(fired + 1, potentials[fired, n], marker, color=colour, markersize=4.5)
    axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.axhline(0, color=GREY, linewidth=0.8)
    if recording.before:
        axes.axvline(recording.before + 0.5, color=GREY, linewidth=1, linestyle=(0, (1, 2)))
        axes.text(recording.before + 0.6, 0.02, "read from here", fontsize=7, color=GREY,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_title(caption(layer.layer), loc="left", fontsize=9)
    axes.set_ylabel("v / threshold", fontsize=9)
    step_ticks(axes, recording.T)
    axes.set_xlim(0, recording.T + 0.2)
    plain(axes, grid=None)
    return potentials[:, chosen].flatten()


def _ends(axes: Any, last: Tensor, low: float, high: float) -> None:
    """Where neurons end between two bounds, as a histogram, and how many end beyond them."""
    counts = torch.histc(last[(last >= low) & (last <= high)], _BINS, low, high)
    size = (high - low) / _BINS
    centres = [low + (i + 0.5) * size for i in range(_BINS)]
    axes.barh(centres, (100 * counts / len(last)).tolist(), size, color=BLUE)
    axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.axhline(0, color=GREY, linewidth=0.8)
    beyond = {f"above {high:.1f}": last > high, f"below {low:.1f}": last < low}
    shares = {where: 100 * float(which.double().mean()) for where, which in beyond.items()}
    said = [f"{share:.0f} % {where}" for where, share in shares.items() if share >= 0.5]
    axes.set_title(", ".join(said), loc="right", fontsize=8, color=GREY)
    axes.set_xlim(left=0)
    plain(axes, grid="x")


def _in_thresholds(layer: LayerRecording, v: Tensor) -> Tensor:
    """Potentials ``[*, N]`` in units of theta, float64; far outside of every picture, cut off."""
    return (v.double() / layer.v_threshold.double()).clamp(-100, 100)


def _typical(spikes: Tensor) -> list[int]:
    """Neurons from the least to the most active of those that fired, evenly; else the first."""
    order = spikes.abs().sum(0, dtype=torch.int64).sort(stable=True)
    active = order.indices[order.values > 0]
    if len(active) == 0:
        return list(range(min(len(_STYLES), spikes.shape[1])))
    places = torch.linspace(0, len(active) - 1, min(len(_STYLES), len(active))).round().long()
    chosen: list[int] = active[places].tolist()
    return chosen
