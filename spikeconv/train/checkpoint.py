"""Checkpoints of a training run: written whole or not at all, opened without running code."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from spikeconv.train.loop import Trainer


def save_checkpoint(trainer: Trainer) -> None:
    """Write ``last.pt``, from which the run can go on."""
    path = trainer.folder / "last.pt"
    partial = path.with_suffix(".partial")
    torch.save(trainer.state(), partial)
    os.replace(partial, path)


def save_weights(trainer: Trainer) -> None:
    """Write ``best.safetensors``, the weights alone."""
    from safetensors.torch import save_file

    path = trainer.folder / "best.safetensors"
    partial = path.with_suffix(".partial")
    weights = {name: t.contiguous() for name, t in trainer.model.state_dict().items()}
    save_file(weights, partial)
    os.replace(partial, path)


def load_checkpoint(trainer: Trainer) -> None:
    """Go on from ``last.pt``, if it is there.

    Raises:
        ValueError: it belongs to another recipe.
    """
    path: Path = trainer.folder / "last.pt"
    if not path.exists():
        return
    state = torch.load(path, map_location="cpu", weights_only=True)
    recipe = asdict(trainer.recipe)
    differing = [key for key in recipe if state["recipe"].get(key) != recipe[key]]
    if differing:
        raise ValueError(
            f"{path}: the run there has another {', '.join(differing)}; choose another folder, "
            "or the same recipe to go on with it"
        )
    trainer.model.load_state_dict(state["model"])
    trainer.optimiser.load_state_dict(state["optimiser"])
    trainer.schedule.load_state_dict(state["schedule"])
    trainer.done, trainer.best = state["epoch"], state["best"]
