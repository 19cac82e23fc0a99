"""A whole training job: network, start, training, and weights that say what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from spikeconv.data import Dataset
from spikeconv.models.registry import Config, build
from spikeconv.processes import Processes, processes
from spikeconv.train.checkpoint import RunFolder
from spikeconv.train.finish import finish
from spikeconv.train.loop import Trainer
from spikeconv.train.network import network_config
from spikeconv.train.observe import OBSERVED_IMAGES
from spikeconv.train.recipe import Recipe
from spikeconv.train.start import start_from


@dataclass(frozen=True)
class Job:
    """What ``spikeconv train`` does.

    Args:
        model: name of the network, as `network_config` takes it.
        data: what it is trained on.
        recipe: how.
        folder: where everything is written; an existing run with the same recipe goes on.
        activation: ``"relu"``, ``"clip"`` or ``"qcfs"``.
        levels: of ``"qcfs"``.
        init: file of weights to start from, or None for fresh ones.
        device: ``"cpu"`` or ``"cuda"``.
        progress: show a progress bar where there is a terminal.
        say: takes every line that is printed.
    """

    model: str
    data: Dataset
    recipe: Recipe
    folder: Path
    activation: str = "relu"
    levels: int = 4
    init: Path | None = None
    device: str = "cpu"
    progress: bool = True
    say: Callable[[str], object] = print

    def run(self) -> None:
        """Train to the last epoch, beginning where the folder's run was stopped.

        Raises:
            ValueError: network and data do not go together, the folder holds another run, or the
                loss or a weight became NaN.
            FileNotFoundError: no such file to start from.
            KeyboardInterrupt: stopped; says how to go on.
        """
        self._check_init()
        config = network_config(self.model, self.data, self.activation, self.levels)
        advice = f"The same command goes on after the last epoch kept in {self.folder}."
        with processes(self.device, advice) as group:
            trainer = self._trainer(config, group)
            try:
                self._train(trainer, config)
            except KeyboardInterrupt:
                # How many epochs a folder keeps is not known until it is read.
                kept = (
                    f"{trainer.done} of {self.recipe.epochs} epochs are kept in {self.folder}, and "
                    "the same command goes on from there"
                )
                unread = f"the same command goes on after the last epoch kept in {self.folder}"
                raise KeyboardInterrupt(kept if trainer.done else unread) from None

    def _check_init(self) -> None:
        """Raise ValueError where the run would write over the weights that it starts from."""
        best = RunFolder(self.folder).best
        if self.init is not None and self.init.resolve() == best.resolve():
            raise ValueError(
                f"--init: wanted a file that this run does not write, got {self.init}, which its "
                "first epoch would replace; choose another folder, or copy the file"
            )

    def _trainer(self, config: Config, group: Processes) -> Trainer:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            model = build(config)
        about = self._about(config)
        return Trainer(
            model, self.data.train, self.recipe, self.folder, about=about, processes=group
        )

    def _train(self, trainer: Trainer, config: Config) -> None:
        assert trainer.folder is not None
        say = self.say if trainer.processes.first else _nothing
        held_out = len(trainer.held_out)
        say(
            f"{config}\n{self.data.name}: {len(trainer.train):,} images to train on, "
            f"{held_out:,} held out, {trainer.steps} steps an epoch"
        )
        if self.init is not None and not trainer.folder.last.exists():
            indices = trainer.train[:OBSERVED_IMAGES]
            say(start_from(trainer.model, self.init, self.data.train, indices))
        if trainer.resume():
            say(f"{self.folder}: {trainer.done} of {self.recipe.epochs} epochs are done")
        trainer.run(self.progress, say)
        if trainer.processes.first:
            finish(trainer)
        best = trainer.best()
        score = f", {best['held_out']:.2%} of {held_out:,} held-out images" if held_out else ""
        say(f"wrote {trainer.folder.best}: epoch {best['epoch']}{score}")

    def _about(self, config: Config) -> dict[str, Any]:
        """What the run is, as JSON has it."""
        about = {
            "model": config.name,
            "config": asdict(config),
            "dataset": self.data.name,
            "image_shape": self.data.image_shape,
            "mean": self.data.train.mean,
            "std": self.data.train.std,
            "init": None if self.init is None else self.init.name,
            "images": len(self.data.train),
            "classes": self.data.classes,
            "labels_sha256": hashlib.sha256(self.data.train.labels.numpy().tobytes()).hexdigest(),
        }
        if self.init is not None and self.init.is_file():
            about["init_sha256"] = hashlib.sha256(self.init.read_bytes()).hexdigest()
        result: dict[str, Any] = json.loads(json.dumps(about))
        return result


def _nothing(line: str) -> None:
    """What the other processes print."""
