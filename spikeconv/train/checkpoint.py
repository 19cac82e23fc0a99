"""The folder of a training run: what is written there, whole or not at all, and read again.

``last.pt`` holds all that the rest of the run depends on, ``best.safetensors`` the weights that did
best on the held-out images, ``log.jsonl`` a line for each epoch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from spikeconv.output import replacing

State = dict[str, Any]


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

    def load(self) -> State | None:
        """The checkpoint, opened without running code; None where there is none."""
        if not self.last.exists():
            return None
        state: State = torch.load(self.last, map_location="cpu", weights_only=True)
        if "log" not in state:
            text = self.log.read_text() if self.log.exists() else ""
            state["log"] = [json.loads(line) for line in text.splitlines()][: state["epoch"]]
        return state
