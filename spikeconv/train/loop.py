"""The training loop: SGD over epochs, a checkpoint after each, resumed bit for bit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from spikeconv.data import ImageSet
from spikeconv.metrics import correct
from spikeconv.train.augment import augment
from spikeconv.train.checkpoint import load_checkpoint, save_checkpoint, save_weights
from spikeconv.train.recipe import Recipe

_EVALUATION_BATCH = 500


def split(images: ImageSet, holdout: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the images to train on and of those held out, drawn by the seed. int64."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return order[holdout:], order[:holdout]


class Trainer:
    """One training run: a model, its data, and the state that a checkpoint holds.

    Args:
        model: maps ``[B, C, H, W]`` to logits; trained in place.
        images: the training set; `recipe.holdout` of its images are only measured on.
        recipe: everything else.
        folder: where ``last.pt``, ``best.safetensors`` and ``log.jsonl`` are written.
    """

    def __init__(self, model: nn.Module, images: ImageSet, recipe: Recipe, folder: Path) -> None:
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.images = images
        self.recipe = recipe
        self.folder = folder
        self.train, self.held_out = split(images, recipe.holdout, recipe.seed)
        self.steps = len(self.train) // recipe.batch
        self.optimiser = torch.optim.SGD(
            model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )
        total = recipe.epochs * self.steps
        schedules = torch.optim.lr_scheduler
        self.schedule: Any = (
            schedules.OneCycleLR(self.optimiser, recipe.lr, total, cycle_momentum=False)
            if recipe.schedule == "onecycle"
            else schedules.CosineAnnealingLR(self.optimiser, total)
        )
        self.done = 0
        self.best = -1.0
        self.forward = torch.compile(self.model) if recipe.compile else self.model

    def run(self, progress: bool = True) -> None:
        """Train from the last checkpoint in the folder, if there is one, to the last epoch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        load_checkpoint(self)
        for epoch in range(self.done, self.recipe.epochs):
            start = perf_counter()
            loss = self._epoch(epoch, progress)
            accuracy = self.measure()
            self.done = epoch + 1
            if accuracy > self.best:
                self.best = accuracy
                save_weights(self)
            save_checkpoint(self)
            line = {
                "epoch": self.done,
                "lr": self.schedule.get_last_lr()[0],
                "loss": round(loss, 5),
                "held_out": accuracy,
                "seconds": round(perf_counter() - start, 1),
            }
            with (self.folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            tqdm.write(json.dumps(line))

    def _epoch(self, epoch: int, progress: bool) -> float:
        """One pass; its randomness depends on the seed and the epoch alone. The mean loss."""
        recipe = self.recipe
        seed = recipe.seed * 1_000_003 + epoch
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # dropout
        self.model.train()
        order = self.train[torch.randperm(len(self.train), generator=generator)]
        device = next(self.model.parameters()).device
        total = torch.zeros((), device=device)
        bar = tqdm(
            order[: self.steps * recipe.batch].split(recipe.batch),
            f"epoch {epoch + 1}/{recipe.epochs}",
            unit="step",
            disable=None if progress else True,
            leave=False,
        )
        for indices in bar:
            x = self.images.read(indices, lambda raw: augment(raw, recipe.augment, generator))
            x = x.to(device, memory_format=torch.channels_last)
            labels = self.images.labels[indices].to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
                logits = self.forward(x)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            total += loss.detach()
        return float(total) / self.steps

    @torch.no_grad()
    def measure(self) -> float:
        """Accuracy on the held-out images, in float32; without any, 0."""
        self.model.eval()
        device = next(self.model.parameters()).device
        right = 0
        for indices in self.held_out.split(_EVALUATION_BATCH):
            x = self.images.read(indices).to(device, memory_format=torch.channels_last)
            right += int(correct(self.model(x), self.images.labels[indices].to(device)))
        return right / max(1, len(self.held_out))

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on."""
        return {
            "recipe": asdict(self.recipe),
            "epoch": self.done,
            "best": self.best,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
