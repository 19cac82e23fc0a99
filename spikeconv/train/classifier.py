"""Training a small ANN: as much as the demo needs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm


def train_classifier(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int = 20,
    batch_size: int = 64,
    lr: float = 0.1,
    weight_decay: float = 5e-4,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """Train a classifier in place by SGD with momentum and a one-cycle learning rate.

    Args:
        model: maps ``[B, C, H, W]`` to logits ``[B, classes]``; left in eval mode.
        images: float ``[N, C, H, W]``, normalised.
        labels: int64 ``[N]``.
        epochs: passes over the images, 1 or more.
        batch_size: images in a step; the last, smaller batch of an epoch is left out.
        lr: highest learning rate.
        weight_decay: L2 penalty.
        seed: draws the order of the images.
        progress: show a progress bar where there is a terminal.

    Raises:
        ValueError: no epochs, no images, or fewer images than a batch.
    """
    if epochs < 1:
        raise ValueError(f"train_classifier: epochs must be 1 or more, got {epochs}")
    if not 1 <= batch_size <= len(images):
        raise ValueError(
            f"train_classifier: batch_size must be in 1..{len(images)} (the images), "
            f"got {batch_size}"
        )
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(images) // batch_size)
    optimiser = torch.optim.SGD(
        model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=lr, total_steps=steps)
    model.train()
    hidden = None if progress else True
    with tqdm(total=steps, desc="train", unit="step", disable=hidden, leave=False) as bar:
        for _ in range(epochs):
            order = torch.randperm(len(images), generator=generator)
            for batch in order[: len(order) // batch_size * batch_size].split(batch_size):
                loss = F.cross_entropy(model(images[batch]), labels[batch])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                bar.update()
    model.eval()
