"""What a saved run holds for pictures: the JSON of spikeconv evaluate, or one of its recordings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikeconv.network.recording import STEPS, Recording, read_recording

_LARGEST_JSON = 2**26
_WANTED = "wanted what spikeconv evaluate --json or --record writes"


@dataclass(frozen=True)
class Accuracy:
    """Accuracies of one run, each 0 to 1.

    Attributes:
        ann: the ANN's.
        steps: after step 1, 2, ..., T of the network that was converted for T.
        own: T -> that of a network converted for this T; of more than one, or none.
    """

    ann: float
    steps: dict[int, float]
    own: dict[int, float]


@dataclass(frozen=True)
class Saved:
    """One file.

    Attributes:
        path: where it is.
        title: what was measured, in words.
        accuracy: None where none was measured.
        recording: None in a JSON.
    """

    path: Path
    title: str
    accuracy: Accuracy | None
    recording: Recording | None = None


def open_saved(path: str | Path) -> Saved:
    """Open the file of a run, whichever it is; every value is checked.

    Raises:
        ValueError: it is something else, or damaged.
        FileNotFoundError: there is none.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        recording = read_recording(path)
        evaluation = recording.evaluation
        accuracy = _accuracy(path, evaluation) if evaluation else None
        return Saved(path, _title(evaluation, recording.T), accuracy, recording)
    content = _json(path)
    accuracy = _accuracy(path, content)
    return Saved(path, _title(content, len(accuracy.steps)), accuracy)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {_WANTED}, found no file")
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{path}: {_WANTED}, found a file of more than 64 MB")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # no JSON, no text, or too deep
        raise ValueError(f"{path}: {_WANTED}, found something else ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: {_WANTED}, found JSON of another kind")
    return content


def _accuracy(path: Path, content: Mapping[str, Any]) -> Accuracy:
    steps = content.get("snn")
    if not isinstance(steps, list) or not 1 <= len(steps) <= STEPS:
        raise ValueError(f"{path}: {_WANTED}: snn must be a list of 1 to {STEPS} accuracies")
    own = content.get("converted_for_each_T", {})
    if not isinstance(own, dict) or not all(_is_steps(T) for T in own):
        raise ValueError(f"{path}: {_WANTED}: converted_for_each_T must map steps to accuracies")
    for value in (content.get("ann"), *steps, *own.values()):
        if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= 1:
            raise ValueError(f"{path}: {_WANTED}: an accuracy must be in 0..1, got {value!r:.40}")
    every = {t: float(value) for t, value in enumerate(steps, start=1)}
    several = {
        int(T): float(value) for T, value in sorted(own.items(), key=lambda item: int(item[0]))
    }
    return Accuracy(float(content["ann"]), every, several if len(several) > 1 else {})


def _is_steps(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6 and int(text) >= 1


def _title(content: Mapping[str, Any], T: int) -> str:
    """The network and the data where the file says them."""
    settings = content.get("settings")
    named = settings if isinstance(settings, dict) else {}
    model, dataset = named.get("model"), named.get("dataset")
    what = f"{model} on {dataset}, " if isinstance(model, str) and isinstance(dataset, str) else ""
    return f"{what}T = {T}"
