"""The folder of a training run: what is written there, whole or not at all, and read again.

``last.pt`` holds all that the rest of the run depends on, ``best.safetensors`` the weights that did
best on the held-out images, ``log.jsonl`` a line for each epoch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from spikeconv.models.checkpoint import read_pickled
from spikeconv.output import replacing

State = dict[str, Any]

# What every checkpoint of a run has had.
_NEEDED = {"recipe", "epoch", "model", "optimiser", "schedule"}


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
        advice = (
            "the run cannot go on from there. Move the file away and the same command begins the "
            "run anew, or choose another folder"
        )
        try:
            state: State = read_pickled(self.last)
        except ValueError as error:
            raise ValueError(f"{error}; {advice}") from error
        if not isinstance(state, dict) or not state.keys() >= _NEEDED:
            raise ValueError(f"{self.last}: wanted the checkpoint of a run, found none; {advice}")
        if "log" not in state:
            text = self.log.read_text() if self.log.exists() else ""
            state["log"] = [json.loads(line) for line in text.splitlines()][: state["epoch"]]
        return state
