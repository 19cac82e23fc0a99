"""Pictures: what is drawn is what was measured, and what is written can be opened."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch

from spikeconv.network.error_shares import KINDS
from spikeconv.network.recording import LayerRecording, Recording
from spikeconv.plot import plot_accuracy
from spikeconv.plot.accuracy import draw_accuracy
from spikeconv.plot.errors import draw_errors
from spikeconv.plot.membrane import draw_membrane
from spikeconv.plot.raster import draw_raster
from spikeconv.plot.rates import draw_rates
from spikeconv.plot.style import caption, save

CURVES = {"v_init = 0": {1: 0.1, 2: 0.4, 4: 0.8}, "v_init = theta/2": {1: 0.5, 2: 0.8, 4: 0.9}}


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_a_picture_is_written(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"plot{suffix}"
    plot_accuracy(path, CURVES, ann=0.95, title="digits")
    assert path.read_bytes().startswith(start)


def test_the_svg_names_every_curve(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_accuracy(path, CURVES, ann=0.95, title="a title")
    text = path.read_text()
    for name in (*CURVES, "ANN", "a title", "time-steps T", "accuracy (%)"):
        assert f">{name}<" in text


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "must hold points"),
        ({"a": {}}, "must hold points"),
        ({"a": {0: 0.5}}, "'a' must map T >= 1"),
        ({"a": {1: 50.0}}, "'a' must map T >= 1 to an accuracy in 0..1"),
    ],
)
def test_nonsense_is_refused(
    tmp_path: Path, curves: dict[str, dict[int, float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plot_accuracy(tmp_path / "plot.png", curves)
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end with \.png or \.svg"):
        plot_accuracy(tmp_path / "plot.gif", CURVES)


def layer(name: str = "relu", T: int = 8, N: int = 20, signed: bool = False) -> LayerRecording:
    """A layer of 40 neurons, of which some are recorded on 2 images, in random activity."""
    generator = torch.Generator().manual_seed(len(name) + T)
    spikes = torch.randint(-1 if signed else 0, 2, (T, 2, N), generator=generator).to(torch.int8)
    fired = torch.randint(0, 80 // (T + 1) + 1, (T + 1,), generator=generator)
    fired[0] += 80 - fired.sum()
    parts = {kind: 0.25 for kind in KINDS}
    return LayerRecording(
        layer=name,
        shape=(4, 10),
        neurons=torch.arange(N),
        spikes=spikes,
        v=torch.randn(T, 2, N, generator=generator) * 3,
        v_threshold=torch.full((N,), 2.0),
        v_init=torch.ones(N),
        activation=torch.rand(2, N, generator=generator),
        fired=fired,
        shares={"error": 0.5, **parts},
    )


def recording(*layers: LayerRecording, **more: Any) -> Recording:
    return Recording(layers or (layer(),), **more)


def heights(axes: Any) -> list[float]:
    return [bar.get_height() for bar in axes.patches]


def test_accuracies_begin_at_zero() -> None:
    axes = draw_accuracy({"run": {1: 0.9, 2: 0.95, 24: 0.99}}, {"run": 0.995}).axes[0]
    assert axes.get_ylim()[0] == 0
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "1",
        "2",
        "4",
        "8",
        "16",
        "24",
    ]
    assert axes.lines[0].get_ydata().tolist() == [90, 95, 99]
    assert axes.lines[0].get_color() == axes.lines[1].get_color()  # each run's ANN in its colour


@pytest.mark.parametrize("signed", [False, True])
def test_a_raster_has_a_mark_for_each_spike(signed: bool) -> None:
    one = layer(signed=signed)
    above, below = draw_raster(recording(one), [one], image=1).axes
    spikes = one.spikes[:, 1]
    marks = {sign: len(c.get_paths()) for sign, c in zip((1, -1), below.collections, strict=True)}
    assert marks == {sign: int((spikes == sign).sum()) for sign in (1, -1)}
    first = min(tuple(path.vertices.min(0)) for path in below.collections[0].get_paths())
    t, n = min(tuple(place) for place in (spikes == 1).nonzero().tolist())
    assert first == pytest.approx((t + 0.6, n))
    shares = 100 * torch.stack([(spikes == 1).double().mean(1), -(spikes == -1).double().mean(1)])
    assert heights(above) == pytest.approx(shares.flatten().tolist())
    assert (above.get_ylim()[0] == 0) is not signed


def test_a_raster_of_many_neurons_shows_some_and_says_so() -> None:
    one = dataclasses.replace(layer(N=300), shape=(3, 1000))
    below = draw_raster(recording(one), [one]).axes[1]
    assert below.get_ylabel() == "neuron (100 of 3,000)"
    assert sum(len(c.get_paths()) for c in below.collections) == int(one.spikes[:, 0, ::3].sum())


def test_steps_before_the_readout_are_told() -> None:
    one = layer()
    early = recording(one, before=3, starts=(0, 2))
    for axes in draw_raster(early, [one]).axes:
        assert any(set(line.get_xdata()) == {3.5} for line in axes.lines)
    traces = draw_membrane(early, [one]).axes[0]
    assert any(set(line.get_xdata()) == {3.5} for line in traces.lines)
    # A line ends where neurons start anew, and the next begins there.
    ends = [(line.get_xdata()[0], line.get_xdata()[-1]) for line in traces.lines[:2]]
    assert ends == [(0, 2), (3, 8)]


def test_a_histogram_of_rates_adds_up_to_all_neurons() -> None:
    one = layer()
    axes = draw_rates([one]).axes[0]
    shares = 100 * one.fired.double() / one.fired.sum()
    assert heights(axes) == pytest.approx(shares[1:].tolist())
    mean = float((one.fired * torch.arange(9)).sum() / one.fired.sum() / 8)
    assert axes.get_title("left") == f"relu\nnever {shares[0]:.0f} %, mean {100 * mean:.0f} %"
    assert axes.get_ylim()[0] == 0 and axes.get_ylim()[1] > max(heights(axes))
    long = layer(T=100)
    bars = heights(draw_rates([long]).axes[0])
    assert len(bars) == 25
    assert sum(bars) == pytest.approx(100 * float(long.fired[1:].sum() / long.fired.sum()))


def test_silent_layers_are_drawn_too() -> None:
    one = layer()
    silent = dataclasses.replace(
        one, spikes=torch.zeros_like(one.spikes), fired=torch.tensor([80, *[0] * 8])
    )
    assert draw_rates([silent]).axes[0].get_ylim()[0] == 0
    draw_raster(recording(silent), [silent])
    draw_membrane(recording(silent), [silent])


def test_potentials_are_in_units_of_the_threshold() -> None:
    one = layer()
    traces, ends = draw_membrane(recording(one), [one], image=1).axes
    active = one.spikes[:, 1].sum(0).argsort(stable=True)
    v = traces.lines[0].get_ydata()
    assert v[0] == 0.5 and len(v) == 9
    drawn = [tuple((one.v[:, 1, n] / 2).tolist()) for n in active]
    assert any(tuple(v[1:]) == pytest.approx(trace) for trace in drawn)
    # Bars and what lies beyond them are all neurons.
    beyond = sum(float(word) for word in ends.get_title("right").split() if word.isdigit())
    assert sum(bar.get_width() for bar in ends.patches) + beyond == pytest.approx(100, abs=1.1)


def test_bars_are_as_high_as_the_errors() -> None:
    parts = {"clipping": 0.1, "quantisation": 0.2, "unevenness": 0.3, "inherited": 0.4}
    figure = draw_errors({"a": {"error": 0.5, **parts}, "b": {"error": 0.25, **parts}})
    axes = figure.axes[0]
    assert heights(axes) == pytest.approx([0.05, 0.025, 0.1, 0.05, 0.15, 0.075, 0.2, 0.1])
    assert max(bar.get_y() + bar.get_height() for bar in axes.patches) == pytest.approx(0.5)
    assert axes.get_ylim()[0] == 0
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]


def test_many_layers_fit(tmp_path: Path) -> None:
    """Every picture of a hundred layers can be written, and names do not lie on each other."""
    layers = [layer(f"stage{i // 10}.block{i % 10}.relu", T=4) for i in range(100)]
    assert save(draw_rates(layers[:45]), tmp_path / "many.png").stat().st_size > 10_000
    figure = draw_errors({one.layer: one.shares for one in layers})
    save(figure, tmp_path / "many.png")
    labels = figure.axes[0].get_xticklabels()
    width = labels[1].get_window_extent().x1 - labels[0].get_window_extent().x1
    assert width >= labels[0].get_fontsize() / 72 * figure.dpi * math.sin(math.radians(60)) * 0.8


def test_names_are_no_formulas(tmp_path: Path) -> None:
    wild = "$\\frac{" + "x" * 500 + "\n\t"
    one = layer(wild)
    parts = {wild: one.shares}
    for figure in (
        draw_raster(recording(one), [one], title=wild),
        draw_rates([one]),
        draw_membrane(recording(one), [one]),
        draw_errors(parts),
        draw_accuracy({wild: {1: 0.5}}),
    ):
        save(figure, tmp_path / "wild.svg")
    assert len(caption(wild)) <= 42 and "\n" not in caption(wild)


def test_the_same_picture_has_the_same_bytes(tmp_path: Path) -> None:
    for suffix in (".png", ".svg", ".pdf"):
        written = []
        for _ in range(2):
            path = save(draw_rates([layer(), layer("other")]), tmp_path / f"same{suffix}")
            written.append(path.read_bytes())
        assert written[0] == written[1]
