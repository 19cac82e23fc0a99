"""The training loop: epochs, a checkpoint after each, resumed bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
from spikeconv.models.weights import Weights, write_weights
from spikeconv.processes import Processes
from spikeconv.train.augment import augmented_batches
from spikeconv.train.bounds import Bounds
from spikeconv.train.checkpoint import RunFolder, State, differing
from spikeconv.train.optimise import Optimisers
from spikeconv.train.recipe import Recipe

_EVALUATION_BATCH = 500
# Steps between two looks at the loss, each of which waits for the device.
_LOOK_EVERY = 50
# Seeds of epochs lie close together; those of processes far apart.
_EPOCHS, _PROCESSES = 1_000_003, 2**40


def split(images: ImageSet, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Indices of the images to train on and of those held out, drawn by the seed. int64."""
    generator = torch.Generator().manual_seed(recipe.seed)
    order = torch.randperm(len(images), generator=generator)
    return order[recipe.holdout :][: recipe.limit], order[: recipe.holdout]


class Trainer:
    """One training run: a model, its data, and the state that a checkpoint holds.

    What is random in an epoch depends on the seed and the number of the epoch alone, so a run that
    was stopped and goes on ends with the same bits as one that was not.

    Args:
        model: maps ``[B, C, H, W]`` to logits; trained in place, on the device of `processes`.
        images: the training set; `recipe.holdout` of its images are only measured on.
        recipe: how to train.
        folder: where ``last.pt``, ``best.safetensors`` and ``log.jsonl`` are written; None for
            nowhere. Of several processes the first writes and all read, so on several machines it
            must be one that all see.
        about: what else the run depends on, as JSON takes it; written into ``best.safetensors``. A
            folder in which a run with another recipe or another description was begun is refused.
        processes: those that train together; each takes its share of every batch. Batch norm takes
            its statistics from a process's own share; the first one's are kept.

    Raises:
        ValueError: fewer images than are held out and in one batch, a limit below a batch, or a
            batch that the processes cannot share evenly.
    """

    def __init__(
        self,
        model: nn.Module,
        images: ImageSet,
        recipe: Recipe,
        folder: Path | None,
        *,
        about: Mapping[str, Any] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.processes = processes or Processes()
        self.device = self.processes.device
        self.model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.images, self.bounds = images.near(self.device), Bounds(model)
        self.recipe = recipe
        self.folder = None if folder is None else RunFolder(Path(folder))
        self.about = dict(about or {})
        self.train, self.held_out = split(images, recipe)
        self.steps = len(self.train) // recipe.batch
        self._check_sizes()
        self.optimisers = Optimisers(model, recipe, recipe.epochs * self.steps)
        self.log: list[dict[str, Any]] = []
        self.forward: Callable[[Tensor], Tensor] = self.processes.parallel(self.model)
        if recipe.compile:
            self.forward = torch.compile(self.forward)

    def _check_sizes(self) -> None:
        batch, count = self.recipe.batch, self.processes.count
        left = len(self.images) - len(self.held_out)
        if self.steps < 1 and left >= batch:
            raise ValueError(
                f"Trainer: limit (--limit) must be at least a batch, which is {batch}, got "
                f"{self.recipe.limit}"
            )
        if self.steps < 1:
            raise ValueError(
                f"Trainer: images must be enough to hold {self.recipe.holdout} out and fill a "
                f"batch of {batch}, got {len(self.images)} (of which {left} are left to train on)"
            )
        if batch % count != 0:
            raise ValueError(
                f"Trainer: batch must be a multiple of the {count} processes, got {batch}"
            )

    @property
    def done(self) -> int:
        """Epochs that are done."""
        return len(self.log)

    def best(self) -> dict[str, Any]:
        """The log's line of the best held-out accuracy, of equals the first; ValueError of none."""
        if not self.log:
            raise ValueError("Trainer.best: wanted an epoch that is done, got none; call run first")
        lines = [line for line in self.log if line["held_out"] is not None]
        return max(lines, key=lambda line: float(line["held_out"])) if lines else self.log[-1]

    def resume(self) -> bool:
        """Go on from the folder's checkpoint; False where there is none.

        Raises:
            ValueError: it or the best weights belong to another run, or are damaged; or there is
                none, and the folder holds weights or a log that a new run would replace.
            FileNotFoundError: the best weights are gone, and are not those of the checkpoint.
        """
        if self.folder is None:
            return False
        ours = self.description()
        state = self.folder.load()
        if state is None:
            self.folder.check_new(ours)
            return False
        if others := differing({**state.get("about", {}), "recipe": state["recipe"]}, ours):
            raise ValueError(
                f"{self.folder.path}: the run there has another {', '.join(others)}; choose "
                "another folder, or say the same to go on with it"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimisers.load(state, len(state["log"]) * self.steps)
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise self.folder.foreign(f"it does not fit ({str(error).splitlines()[0]})") from error
        self.log = state["log"]
        lacks_best = self.folder.lacks_best(ours, self.best()["epoch"], self.done)
        if self.processes.first:
            self.folder.write_log(self.log)
            if lacks_best:
                self._write_best(self.folder)
        return True

    def _write_best(self, folder: RunFolder) -> None:
        """Write the model's weights as those that did best."""
        write_weights(folder.best, Weights(self.model.state_dict(), self.describe()))

    def run(self, progress: bool = True, say: Callable[[str], object] = tqdm.write) -> None:
        """Train from the last checkpoint in the folder, if there is one; leave it in eval mode.

        Args:
            progress: show a progress bar where there is a terminal.
            say: takes the log's line of each epoch.

        Raises:
            ValueError: as `resume`, or the loss or a weight is no number any more.
        """
        if self.folder is not None and self.processes.first:
            self.folder.path.mkdir(parents=True, exist_ok=True)
        if self.done == 0:
            self.resume()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            for epoch in range(self.done, self.recipe.epochs):
                start = perf_counter()
                loss = self._epoch(epoch, progress and self.processes.first)
                accuracy = self.measure()
                line = {
                    "epoch": epoch + 1,
                    "lr": self.optimisers.rate,
                    "loss": round(loss, 5),
                    "held_out": accuracy,
                    "seconds": round(perf_counter() - start, 1),
                }
                self.log.append(line)
                if self.processes.first:
                    self._write()
                    say(self._shown(line))
        self.model.eval().to(memory_format=torch.contiguous_format)

    def _shown(self, line: dict[str, Any]) -> str:
        """A line of the log for the eye."""
        held_out = f"held out {line['held_out']:.2%}, " if line["held_out"] is not None else ""
        return (
            f"epoch {line['epoch']:>{len(str(self.recipe.epochs))}}/{self.recipe.epochs}: "
            f"loss {line['loss']:.4f}, {held_out}lr {line['lr']:.4g}, {line['seconds']} s"
        )

    def _epoch(self, epoch: int, progress: bool) -> float:
        """One pass; its randomness depends on the seed and the epoch alone. The mean loss."""
        recipe = self.recipe
        seed = recipe.seed * _EPOCHS + epoch
        own_seed = seed + self.processes.rank * _PROCESSES
        generator = torch.Generator().manual_seed(seed)
        order = self.train[torch.randperm(len(self.train), generator=generator)]
        torch.manual_seed(own_seed)  # dropout
        if not self.processes.first:
            generator.manual_seed(own_seed)  # augmentation; the order is the same for all
        self.model.train()
        total = torch.zeros((), device=self.device)
        mean = 0.0
        batches = order[: self.steps * recipe.batch].split(recipe.batch)
        own = [self.processes.share(indices) for indices in batches]
        bar = tqdm(
            augmented_batches(self.images, own, recipe.augment, generator),
            f"epoch {epoch + 1}/{recipe.epochs}",
            self.steps,
            unit="step",
            disable=None if progress else True,
            leave=False,
        )
        for step, (x, labels) in enumerate(bar, start=1):
            total += self._step(x, labels)
            if step % _LOOK_EVERY == 0 or step == self.steps:
                mean = float(self.processes.sum(total)) / (step * self.processes.count)
                if not math.isfinite(mean):
                    raise ValueError(self._divergence(epoch, f"the loss became {mean}"))
                bar.set_postfix_str(f"loss {mean:.3f}", refresh=False)
        self.processes.share_buffers(self.model)
        # The loss is that before a step; what the last one does shows in the weights alone.
        if not all(bool(tensor.isfinite().all()) for tensor in self.model.state_dict().values()):
            raise ValueError(self._divergence(epoch, "a weight became NaN or infinite"))
        return mean

    def _step(self, x: Tensor, labels: Tensor) -> Tensor:
        """One step on augmented images; the loss before it."""
        recipe = self.recipe
        x = x.to(self.device, memory_format=torch.channels_last)
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.bf16):
                logits = self.forward(x)
        except ValueError as error:
            if len(x) > 1:
                raise
            wanted = f"2 or more a process for this network, got {recipe.batch}"
            raise ValueError(f"Trainer: batch must be {wanted} ({error})") from error
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        self.optimisers.zero_grad()
        loss.backward()
        with self.bounds.limited():
            self.optimisers.step()
        return loss.detach()

    def _divergence(self, epoch: int, what: str) -> str:
        kept = f"; epoch {epoch} is kept in {self.folder.path}" if epoch and self.folder else ""
        return (
            f"Trainer: {what} in epoch {epoch + 1}{kept}. Try a lower learning "
            f"rate (it is {self.recipe.lr:g}) or schedule='onecycle', which begins with a low one"
            f"{', or leave bf16 off' if self.recipe.bf16 else ''}; in another folder"
        )

    @torch.no_grad()
    def measure(self) -> float | None:
        """Accuracy on the held-out images, in float32; without any, None."""
        self.model.eval()
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        own = self.processes.share(self.held_out)
        for indices in own.split(_EVALUATION_BATCH) if len(own) else ():
            x = self.images.read(indices).to(self.device, memory_format=torch.channels_last)
            right += correct(self.model(x), self.images.labels[indices])
        right = self.processes.sum(right)
        return int(right) / len(self.held_out) if len(self.held_out) else None

    def state(self) -> State:
        """All that the rest of the run depends on."""
        return {
            "recipe": asdict(self.recipe),
            "about": self.about,
            "epoch": self.done,
            "log": self.log,
            "model": self.model.state_dict(),
            **self.optimisers.state(),
        }

    def description(self) -> dict[str, Any]:
        """What the run is, whatever the epoch."""
        return {**self.about, "recipe": asdict(self.recipe)}

    def describe(self) -> dict[str, Any]:
        """What the best weights say about themselves."""
        best = self.best()
        return {
            **self.description(),
            "epoch": best["epoch"],
            "held_out": best["held_out"],
            "torch": torch.__version__,
        }

    def _write(self) -> None:
        """Write the last epoch's checkpoint and, if it is the best, its weights."""
        if self.folder is None:
            return
        if self.best() is self.log[-1]:
            self._write_best(self.folder)
        self.folder.save(self.state())
