"""The folder of a training run: what is written there, whole or not at all, and read again.

``last.pt`` holds all that the rest of the run depends on, ``best.safetensors`` the weights that did
best on the held-out images, ``log.jsonl`` a line for each epoch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch

from spikeconv.models.checkpoint import read_pickled
from spikeconv.models.weights import Weights, read_weights
from spikeconv.output import replacing
from spikeconv.train.recipe import Recipe

State = dict[str, Any]

_ADVICE = (
    "the run cannot go on from there. Move it, best.safetensors and log.jsonl away and the same "
    "command begins the run anew, or choose another folder"
)
# What every checkpoint of a run has had.
_NEEDED = {"recipe", "epoch", "model", "optimiser", "schedule"}
_KINDS: dict[str, type] = {
    **dict.fromkeys(("recipe", "about", "model", "optimiser", "schedule"), dict),
    "epoch": int,
    "log": list,
}


def differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Names of what two runs do not have in common.

    Args:
        theirs: what a file says of its run, with the recipe under ``recipe``.
        ours: likewise of this one, whose description decides what is compared.
    """
    found, wanted, defaults = (
        json.loads(json.dumps(said, default=repr)) for said in (theirs, ours, asdict(Recipe()))
    )
    # A file that lacks a field was written before there was one: by today's default if it is the
    # recipe's, else of a run that could be no other.
    if isinstance(found.get("config"), dict) and isinstance(wanted.get("config"), dict):
        found["config"] = {**wanted["config"], **found["config"]}
    wanted = {**wanted.pop("recipe"), **wanted}
    found = {**wanted, **defaults, **found.pop("recipe"), **found}
    return [key for key in wanted if found[key] != wanted[key]]


def _says_its_recipe(about: Mapping[str, Any]) -> bool:
    """Whether a file of weights was written by a run."""
    return isinstance(about.get("recipe"), dict)


def _is_log(lines: list[Any], epochs: int) -> bool:
    """Whether there is a line for each of so many epochs."""
    return 0 < len(lines) == epochs and all(
        isinstance(line, dict)
        and line.get("epoch") == epoch
        and isinstance(line.get("held_out", ""), float | int | None)
        for epoch, line in enumerate(lines, start=1)
    )


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

    def lacks_best(self, ours: Mapping[str, Any], best: int, done: int) -> bool:
        """Whether the best weights are gone, or a later epoch's, and the checkpoint holds them.

        Args:
            ours: what they say of this run, whatever the epoch.
            best: the epoch that did best.
            done: the last one, whose weights the checkpoint holds.

        Raises:
            FileNotFoundError: they are gone, and the checkpoint holds others.
            ValueError: as `read_best`.
        """
        if self.best.exists():
            # Of an epoch that is done again, and may be another's best then.
            later = self.read_best(ours, best, done).about.get("epoch") != best
            return later and best == done
        if best != done:
            raise FileNotFoundError(
                f"{self.best}: wanted the weights of epoch {best}, the best so far, found nothing "
                f"there, and {self.last.name} holds those of epoch {done}; put the file back, or "
                f"move {self.last.name} and {self.log.name} away and the same command begins the "
                "run anew"
            )
        return True

    def read_best(self, ours: Mapping[str, Any], best: int, done: int) -> Weights:
        """The best weights, once they are known to be those of this run.

        Args:
            ours, best, done: as `lacks_best` takes them.

        Raises:
            ValueError: the file is damaged, or another run's.
        """
        advice = "put the right file back, and the same command goes on"
        try:
            weights = read_weights(self.best)
        except ValueError as error:
            raise ValueError(f"{error}; {advice}") from error
        about = weights.about
        others = differing(about, ours) if _says_its_recipe(about) else ["description"]
        # A run that ended between weights and checkpoint has left those of the next epoch.
        if not others and about.get("epoch") not in (best, done + 1):
            others = ["epoch"]
        if others:
            raise ValueError(
                f"{self.best}: wanted the best weights of this run, found those of one with "
                f"another {', '.join(others)}; {advice}"
            )
        return weights

    def load(self) -> State | None:
        """The checkpoint, opened without running code; None where there is none.

        Raises:
            ValueError: the file is damaged, or no checkpoint of a run.
        """
        if not self.last.exists():
            return None
        if self.last.is_dir():
            raise self.foreign("it is a folder")
        try:
            state: State = read_pickled(self.last)
        except ValueError as error:
            raise ValueError(f"{error}; {_ADVICE}") from error
        if is_zipfile(self.last) and (damaged := ZipFile(self.last).testzip()):
            # torch.load compares no checksums.
            raise self.foreign(f"it is damaged (in its part {damaged})")
        if not isinstance(state, dict) or not state.keys() >= _NEEDED:
            raise self.foreign("it is no checkpoint of a run")
        wrong = [
            key for key, kind in _KINDS.items() if not isinstance(state.get(key, kind()), kind)
        ]
        if not wrong and "log" not in state:
            text = self.log.read_text() if self.log.exists() else ""
            state["log"] = [json.loads(line) for line in text.splitlines()][: state["epoch"]]
        if wrong or not _is_log(state["log"], state["epoch"]):
            raise self.foreign(f"its {(wrong or ['log'])[0]} is none of a run's")
        return state

    def foreign(self, reason: str) -> ValueError:
        """What to raise where the checkpoint is not this run's."""
        return ValueError(
            f"{self.last}: wanted the checkpoint of this run, but {reason}; {_ADVICE}"
        )

    def check_new(self, ours: Mapping[str, Any]) -> None:
        """Make sure that a run that begins here replaces no log, and no weights but its own.

        Args:
            ours: what its best weights will say of it, whatever the epoch.

        Raises:
            ValueError: best weights or a log lie here without their run's checkpoint.
        """
        if self.best.exists() and not self._is_first(ours):
            raise ValueError(
                f"{self.best}: there are weights, but no {self.last.name} of their run, and this "
                "run would replace them; move them away, or choose another folder"
            )
        if self.log.exists():
            raise ValueError(
                f"{self.log}: there is a log, but no {self.last.name} of its run, and this run "
                "would replace it; move it away, or choose another folder"
            )

    def _is_first(self, ours: Mapping[str, Any]) -> bool:
        """Whether the best weights are what a run leaves that ends before its first checkpoint."""
        try:
            about = read_weights(self.best).about
        except ValueError:
            return False
        return about.get("epoch") == 1 and _says_its_recipe(about) and not differing(about, ours)
