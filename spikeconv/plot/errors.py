"""How far each layer is from the ANN, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spikeconv.network.error_shares import KINDS
from spikeconv.plot.style import BLUE, PALE, SKY, VERMILLION, caption, new_figure, plain

KIND_COLOURS = dict(zip(KINDS, (VERMILLION, SKY, BLUE, PALE), strict=True))
_SAID = {
    "clipping": "clipping: activations above the threshold",
    "quantisation": "quantisation: T steps, T + 1 levels",
    "unevenness": "unevenness: spikes that come too early or late",
    "inherited": "inherited from the layers before",
}


def draw_errors(shares: Mapping[str, Mapping[str, float]], title: str | None = None) -> Any:
    """A bar for each layer, as high as its error, split into the shares of its parts.

    Args:
        shares: layer -> ``error`` and the share of each kind, at least one layer.
        title: of the whole figure.
    """
    figure = new_figure(min(16.0, max(5.6, 1.6 + 0.34 * len(shares))), 4.6, title)
    axes = figure.subplots()
    stack_errors(axes, shares)
    axes.set_ylabel("error / activation\n(root mean square)", fontsize=9)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1],
        [_SAID[kind] for kind in names[::-1]],
        frameon=False,
        fontsize=8,
        loc="lower left",
        bbox_to_anchor=(0, 1),
    )
    return figure


def stack_errors(axes: Any, shares: Mapping[str, Mapping[str, float]]) -> None:
    """Stacked bars, one for each layer, with its name below."""
    foot = [0.0] * len(shares)
    places = range(len(shares))
    for kind in KINDS:
        parts = [layer["error"] * layer[kind] for layer in shares.values()]
        axes.bar(places, parts, 0.8, foot, color=KIND_COLOURS[kind], label=kind)
        foot = [low + part for low, part in zip(foot, parts, strict=True)]
    plain(axes)
    size = 7 if len(shares) <= 60 else 5
    axes.set_xticks(
        places, list(map(caption, shares)), rotation=60, ha="right", rotation_mode="anchor"
    )
    axes.tick_params(axis="x", labelsize=size)
    axes.set_xlim(-0.6, len(shares) - 0.4)
