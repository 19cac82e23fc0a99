"""When which neurons of a layer fired on one image, and how many of them at each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from spikeconv.network.recording import LayerRecording, Recording
from spikeconv.plot.style import BLUE, GREY, INK, VERMILLION, caption, new_figure, plain, step_ticks

# More lines could not be told apart.
_LINES = 128
_COLOURS = {1: BLUE, -1: VERMILLION}


def draw_raster(
    recording: Recording,
    layers: Sequence[LayerRecording],
    image: int = 0,
    title: str | None = None,
) -> Any:
    """A panel for each layer: a mark for each spike, and above it the share that fires.

    Args:
        recording: says from when on neurons are read.
        layers: some of it, at least one.
        image: which of the recorded ones.
        title: of the whole figure.
    """
    T, before = recording.T, recording.before
    width = min(12.0, 2.6 + 0.07 * T)
    columns = min(len(layers), int(12 / width))
    rows = math.ceil(len(layers) / columns)
    figure = new_figure(max(4.0, width * columns), 0.4 + 3.6 * rows, title)
    panels = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1, 3.2] * rows)
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        above, below = panels[2 * row][column], panels[2 * row + 1][column]
        if index >= len(layers):
            above.remove()
            below.remove()
            continue
        _shares(above, layers[index], image)
        _marks(below, layers[index], image)
        for axes in (above, below) if before else ():
            axes.axvline(before + 0.5, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        if before:
            above.set_title("read from the line on", loc="right", fontsize=8, color=GREY)
    return figure


def _shares(axes: Any, layer: LayerRecording, image: int) -> None:
    """How many of the neurons fire at each step, those that fire -1 downwards."""
    spikes = layer.spikes[:, image]
    steps = range(1, len(spikes) + 1)
    for sign, colour in _COLOURS.items():
        shares = (100 * sign * (spikes == sign).double().mean(1)).tolist()
        axes.bar(steps, shares, 0.8, color=colour)
    if bool((layer.spikes < 0).any()):
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_ylabel("fire +1, -1 (%)", fontsize=8)
    else:
        axes.set_ylim(bottom=0)
        axes.set_ylabel("fire (%)", fontsize=8)
    axes.set_title(caption(layer.layer), loc="left", fontsize=9)
    axes.set_xlim(0.4, len(spikes) + 0.6)
    step_ticks(axes, len(spikes))
    plain(axes)
    axes.tick_params(labelbottom=False)


def _marks(axes: Any, layer: LayerRecording, image: int) -> None:
    """A line for each neuron, a mark for each of its spikes."""
    from matplotlib.collections import PolyCollection

    recorded = layer.spikes.shape[2]
    spikes = layer.spikes[:, image, :: math.ceil(recorded / _LINES)]
    T, lines = spikes.shape
    for sign, colour in _COLOURS.items():
        corners = [
            [(t + 0.6, n), (t + 1.4, n), (t + 1.4, n + 1), (t + 0.6, n + 1)]
            for t, n in (spikes == sign).nonzero().tolist()
        ]
        axes.add_collection(PolyCollection(corners, facecolors=colour, linewidths=0))
    axes.set_xlim(0.4, T + 0.6)
    axes.set_ylim(0, lines)
    step_ticks(axes, T)
    neurons = math.prod(layer.shape)
    axes.set_ylabel(f"neuron ({lines} of {neurons:,})" if lines < neurons else "neuron", fontsize=8)
    axes.set_xlabel("time-step", fontsize=8)
    plain(axes, grid=None)
