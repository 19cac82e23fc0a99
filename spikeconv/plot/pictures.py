"""Which pictures can be drawn of saved runs, and drawing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from spikeconv.convert.recording import LayerRecording
from spikeconv.plot.accuracy import draw_accuracy
from spikeconv.plot.errors import draw_errors
from spikeconv.plot.membrane import draw_membrane
from spikeconv.plot.raster import draw_raster
from spikeconv.plot.rates import draw_rates
from spikeconv.plot.saved import Saved

KINDS = ("accuracy", "raster", "rates", "membrane", "errors")

# A picture's name without a suffix, and what draws it.
Picture: TypeAlias = tuple[str, Callable[[], Any]]


def pictures(
    runs: Sequence[Saved], kinds: Sequence[str] = (), labels: Sequence[str] = (), image: int = 0
) -> Iterator[Picture]:
    """The pictures of some runs: one of all accuracies, the others of each recording.

    Args:
        runs: at least one.
        kinds: of `KINDS`; none for all that the runs hold.
        labels: layers to draw; none for all, or, of rasters and potentials, the first, the middle
            and the last.
        image: which of the recorded ones, for rasters and potentials.

    Raises:
        ValueError: the runs do not hold what was asked for.
    """
    names = ", ".join(str(run.path) for run in runs)
    drawn = 0
    for kind in kinds or KINDS:
        found = [_accuracies(runs)] if kind == "accuracy" else []
        if kind != "accuracy":
            found = [_of_recording(run, kind, labels, image) for run in runs]
        there = [picture for picture in found if picture is not None]
        if kinds and not there:
            raise ValueError(f"{kind}: {_MISSING[kind]}, got {names}")
        drawn += len(there)
        yield from there
    if drawn == 0:
        raise ValueError(f"nothing to draw in {names}")


_MISSING = {
    "accuracy": "needs a file of spikeconv evaluate --json, or a recording with a measurement",
    **dict.fromkeys(
        ("raster", "rates", "membrane"), "needs a recording of spikeconv evaluate --record"
    ),
    "errors": "needs a recording of spikeconv evaluate --record of a network without steps before "
    "the readout (srp, cos, delay) and without an analog operation after its last neuron",
}


def _accuracies(runs: Sequence[Saved]) -> Picture | None:
    measured = [run for run in runs if run.accuracy is not None]
    if not measured:
        return None
    alone = len(measured) == 1
    curves, anns = {}, {}
    for run in measured:
        assert run.accuracy is not None
        prefix = "" if alone else f"{run.path.stem}: "
        last = f"{prefix}converted for T = {len(run.accuracy.steps)}"
        curves[last] = run.accuracy.steps
        anns[last] = run.accuracy.ann
        if run.accuracy.own:
            curves[f"{prefix}converted for each T"] = run.accuracy.own
    same = len(set(anns.values())) == 1
    ann = next(iter(anns.values())) if same else anns
    title = measured[0].title.rpartition(", ")[0] if alone else None
    name = f"{measured[0].path.stem}-accuracy" if alone else "accuracy"
    return name, lambda: draw_accuracy(curves, ann, title)


def _of_recording(run: Saved, kind: str, labels: Sequence[str], image: int) -> Picture | None:
    recording = run.recording
    if recording is None:
        return None
    try:
        layers = recording.chosen(labels) if labels else list(recording.layers)
    except ValueError as error:
        raise ValueError(f"{run.path}: {error}") from error
    if not 0 <= image < recording.images:
        raise ValueError(
            f"{run.path}: image must be in 0..{recording.images - 1}, those that were recorded, "
            f"got {image}"
        )
    some = layers if labels else _first_middle_last(layers)
    shares = {layer.layer: layer.shares for layer in layers if layer.shares}
    if kind == "errors" and not shares:
        return None
    draw = {
        "raster": lambda: draw_raster(recording, some, image, _title(run, f"image {image}")),
        "rates": lambda: draw_rates(layers, _title(run, f"{recording.images} images")),
        "membrane": lambda: draw_membrane(recording, some, image, _title(run, f"image {image}")),
        "errors": lambda: draw_errors(shares, _title(run, f"{recording.images} images")),
    }
    return f"{run.path.stem}-{kind}", draw[kind]


def _title(run: Saved, images: str) -> str:
    return f"{run.title}, {images}"


def _first_middle_last(layers: Sequence[LayerRecording]) -> list[LayerRecording]:
    places = dict.fromkeys((0, len(layers) // 2, len(layers) - 1))
    return [layers[place] for place in places]
