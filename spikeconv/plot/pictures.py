"""Which pictures can be drawn of saved runs, and drawing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from spikeconv.network.recording import LayerRecording
from spikeconv.plot.accuracy import draw_accuracy
from spikeconv.plot.errors import draw_errors
from spikeconv.plot.membrane import draw_membrane
from spikeconv.plot.raster import draw_raster
from spikeconv.plot.rates import draw_rates
from spikeconv.plot.saved import Accuracy, Saved

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
    paths = ", ".join(str(run.path) for run in runs)
    drawn = 0
    for kind in kinds or KINDS:
        if kind == "accuracy":
            found = _accuracies(runs)
        else:
            found = _of_recordings(runs, kind, labels, image)
        if kinds and not found:
            raise ValueError(f"{kind}: {_MISSING[kind]}, got {paths}")
        drawn += len(found)
        yield from found
    if drawn == 0:
        raise ValueError(f"nothing to draw in {paths}")


_MISSING = {
    "accuracy": "needs a file of spikeconv evaluate --json, or a recording with a measurement",
    **dict.fromkeys(
        ("raster", "rates", "membrane"), "needs a recording of spikeconv evaluate --record"
    ),
    "errors": "needs a recording of spikeconv evaluate --record of a network without steps before "
    "the readout (srp, cos, delay) and without an analog operation after its last neuron",
}


def _accuracies(runs: Sequence[Saved]) -> list[Picture]:
    """One picture of all accuracies; a run whose JSON and recording are given has one curve."""
    measured: list[tuple[str, Accuracy]] = []
    for name, run in zip(_names(runs), runs, strict=True):
        known = [accuracy for _, accuracy in measured]
        if run.accuracy is not None and run.accuracy not in known:
            measured.append((name, run.accuracy))
    if not measured:
        return []
    alone = len(measured) == 1
    curves, anns = {}, {}
    for name, accuracy in measured:
        prefix = "" if alone else f"{name}: "
        last = f"{prefix}converted for T = {len(accuracy.steps)}"
        curves[last] = accuracy.steps
        anns[last] = accuracy.ann
        if accuracy.own:
            curves[f"{prefix}converted for each T"] = accuracy.own
    same = len(set(anns.values())) == 1
    ann = next(iter(anns.values())) if same else anns
    title = runs[0].title.rpartition(", ")[0] if alone else None
    name = f"{measured[0][0]}-accuracy" if alone else "accuracy"
    return [(name, lambda: draw_accuracy(curves, ann, title))]


def _names(runs: Sequence[Saved]) -> list[str]:
    """A name for each run, from its file's; those of one name are numbered."""
    seen: Counter[str] = Counter()
    names = []
    for run in runs:
        seen[run.path.stem] += 1
        again = seen[run.path.stem]
        names.append(run.path.stem if again == 1 else f"{run.path.stem} ({again})")
    return names


def _of_recordings(
    runs: Sequence[Saved], kind: str, labels: Sequence[str], image: int
) -> list[Picture]:
    """A picture of each recording that holds what it needs."""
    recorded = [run for run in runs if run.recording is not None]
    drawn = (_of_recording(run, kind, labels, image) for run in recorded)
    named = zip(_names(recorded), drawn, strict=True)
    return [(f"{name}-{kind}", draw) for name, draw in named if draw is not None]


def _of_recording(
    run: Saved, kind: str, labels: Sequence[str], image: int
) -> Callable[[], Any] | None:
    """What draws a picture of one recording; None where it does not hold what it needs."""
    recording = run.recording
    assert recording is not None
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
    return draw[kind]


def _title(run: Saved, images: str) -> str:
    return f"{run.title}, {images}"


def _first_middle_last(layers: Sequence[LayerRecording]) -> list[LayerRecording]:
    places = dict.fromkeys((0, len(layers) // 2, len(layers) - 1))
    return [layers[place] for place in places]
