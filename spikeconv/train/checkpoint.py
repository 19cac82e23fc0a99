"""The folder of a training run: what is written there, whole or not at all, and read again.

``last.pt`` holds all that the rest of the run depends on, ``best.safetensors`` the weights that did
best on the held-out images, ``log.jsonl`` a line for each epoch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spikeconv.models.checkpoint import read_pickled
from spikeconv.models.weights import read_weights
from spikeconv.output import replacing

State = dict[str, Any]

_ADVICE = (
    "the run cannot go on from there. Move it and best.safetensors away and the same command "
    "begins the run anew, or choose another folder"
)
# What every checkpoint of a run has had.
_NEEDED = {"recipe", "epoch", "model", "optimiser", "schedule"}


def with_new_fields(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of a run, with the fields of a network's configuration that are newer.

    A new field says of a network that could be trained before what there was no other choice of.
    """
    if not (isinstance(theirs.get("config"), dict) and isinstance(ours.get("config"), dict)):
        return dict(theirs)
    return {**theirs, "config": {**ours["config"], **theirs["config"]}}


class RunFolder:
    """Where a run lives; the folder is made when something is written.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path / "last.pt"
        self.best = path / "best.safetensors"
        self.log = path / "log.jsonl"

    def save(self, state: State) -> None:
        """Write the checkpoint, then the log that it holds, so that the two never differ."""
        with replacing(self.last) as partial:
            torch.save(state, partial)
        self.write_log(state["log"])

    def write_log(self, lines: list[dict[str, Any]]) -> None:
        """Write ``log.jsonl`` anew."""
        with replacing(self.log) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def lacks_best(self, best: int, done: int) -> bool:
        """Whether the best weights are gone, and can be written again from the checkpoint.

        Args:
            best: the epoch that did best.
            done: the last one, whose weights the checkpoint holds.

        Raises:
            FileNotFoundError: they are gone, and the checkpoint holds others.
        """
        if self.best.exists():
            return False
        if best != done:
            raise FileNotFoundError(
                f"{self.best}: wanted the weights of epoch {best}, the best so far, found nothing "
                f"there, and {self.last.name} holds those of epoch {done}; put the file back, or "
                f"move {self.last.name} away and the same command begins the run anew"
            )
        return True

    def load(self) -> State | None:
        """The checkpoint, opened without running code; None where there is none.

        Raises:
            ValueError: the file is damaged, or no checkpoint of a run.
        """
        if not self.last.exists():
            return None
        try:
            state: State = read_pickled(self.last)
        except ValueError as error:
            raise ValueError(f"{error}; {_ADVICE}") from error
        if not isinstance(state, dict) or not state.keys() >= _NEEDED:
            raise self.foreign("it is no checkpoint of a run")
        if "log" not in state:
            text = self.log.read_text() if self.log.exists() else ""
            state["log"] = [json.loads(line) for line in text.splitlines()][: state["epoch"]]
        kinds = {"recipe": dict, "about": dict, "model": dict, "log": list}
        wrong = [key for key, kind in kinds.items() if not isinstance(state.get(key, {}), kind)]
        if wrong or not state["log"]:
            raise self.foreign(f"its {(wrong or ['log'])[0]} is none of a run's")
        return state

    def foreign(self, reason: str) -> ValueError:
        """What to raise where the checkpoint is not this run's."""
        return ValueError(
            f"{self.last}: wanted the checkpoint of this run, but {reason}; {_ADVICE}"
        )

    def check_new(self, ours: Mapping[str, Any]) -> None:
        """Make sure that a run that begins here replaces no weights but its own.

        Args:
            ours: what its best weights will say of it, whatever the epoch.

        Raises:
            ValueError: best weights lie here without their run's checkpoint.
        """
        if not self.best.exists():
            return
        try:
            about = read_weights(self.best).about
        except ValueError:
            about = {}
        # A run that ended between its first weights and its first checkpoint has left such.
        about = with_new_fields(about, ours)
        if about.get("epoch") == 1 and all(about.get(key) == ours[key] for key in ours):
            return
        raise ValueError(
            f"{self.best}: there are weights, but no {self.last.name} of their run, and this run "
            "would replace them; move them away, or choose another folder"
        )
