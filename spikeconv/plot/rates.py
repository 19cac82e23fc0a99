"""How often the neurons of each layer fire."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from spikeconv.network.recording import LayerRecording
from spikeconv.plot.style import BLUE, INK, caption, new_figure, plain

# More bars could not be told apart.
_BARS = 32


def draw_rates(layers: Sequence[LayerRecording], title: str | None = None) -> Any:
    """A histogram for each layer, of all neurons on all images.

    Those that never fire are most of a layer, and would flatten the rest: they are a number beside
    the name instead of a bar. The mean, a line, is of all.

    Args:
        layers: at least one.
        title: of the whole figure.
    """
    columns = min(5 if len(layers) <= 40 else 8, math.ceil(math.sqrt(len(layers))))
    rows = math.ceil(len(layers) / columns)
    width, height = max(4.2, 0.7 + 2.2 * columns), 1.0 + 1.6 * rows
    figure = new_figure(width, height, title)
    # A hundred panels that arrange themselves would take half a minute.
    figure.set_layout_engine("none")
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        sharex=True,
        sharey=True,
        gridspec_kw={
            "left": 0.7 / width,
            "right": 1 - 0.15 / width,
            "bottom": 0.6 / height,
            "top": 1 - 0.7 / height,
            "wspace": 0.12,
            "hspace": 0.55,
        },
    )
    highest: float = max(
        _panel(axes, layer) for axes, layer in zip(grid.flat, layers, strict=False)
    )
    grid[0][0].set_ylim(0, 1.08 * highest or 1)
    for axes in grid.flat[len(layers) :]:
        axes.remove()
    for column in range(columns):  # where the grid's last row is not full
        last = max(row for row in range(rows) if row * columns + column < len(layers))
        grid[last][column].tick_params(labelbottom=True)
    said = "firing rate of a neuron on an image (% of steps); the dashed line is the mean"
    figure.supxlabel(said, fontsize=9, y=0.12 / height, va="bottom")
    figure.supylabel("neurons (%)", fontsize=9, x=0.12 / width, ha="left")
    return figure


def _panel(axes: Any, layer: LayerRecording) -> float:
    """Draw one layer; returns its highest bar."""
    fired = layer.fired.tolist()
    T, total = len(fired) - 1, sum(fired)
    shares = [100 * count / total for count in fired]
    mean = sum(steps * share for steps, share in enumerate(shares)) / T
    # Of many steps several share a bar, so that each can be seen.
    together = math.ceil(T / _BARS)
    starts = range(1, T + 1, together)
    ends = [min(start + together - 1, T) for start in starts]
    heights = [sum(shares[a : b + 1]) for a, b in zip(starts, ends, strict=True)]
    centres = [50 * (a + b) / T for a, b in zip(starts, ends, strict=True)]
    axes.bar(centres, heights, [90 * (b - a + 1) / T for a, b in zip(starts, ends, strict=True)],
             color=BLUE)  # fmt: skip
    axes.axvline(mean, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    said = f"{caption(layer.layer)}\nnever {shares[0]:.0f} %, mean {mean:.0f} %"
    axes.set_title(said, loc="left", fontsize=7.5)
    axes.set_xlim(0, 100 + 50 / T)
    plain(axes)
    return float(max(heights))
