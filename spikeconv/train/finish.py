"""The last step of a run: thresholds into its best weights, so that they convert without images."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spikeconv.activation import Clip
from spikeconv.calibrate.mse import mse
from spikeconv.models.weights import read_weights, write_weights
from spikeconv.train.loop import Trainer
from spikeconv.train.observe import OBSERVED_IMAGES, observe

STEPS = (1, 2, 4, 8, 16, 32, 64)
"""Time-steps that the file holds thresholds for."""


def finish(trainer: Trainer) -> None:
    """Write ``best.safetensors`` of a finished run anew, with its description and thresholds.

    A ReLU gets, for each T of `STEPS`, a threshold per channel: that of least square error under T
    steps of a neuron that starts at half of it, on training images. A trained bound is its own
    threshold for every T, so networks that have them need no others.

    Args:
        trainer: a run that is done, in a folder; its model is left with the best weights.
    """
    assert trainer.folder is not None
    best = read_weights(trainer.folder.best)
    trainer.model.load_state_dict(best.state)
    about = trainer.describe()
    thresholds: dict[str, Tensor] = {}
    if not any(isinstance(module, Clip) for module in trainer.model.modules()):
        about["thresholds_T"] = list(STEPS)
        for path, histogram in observe(
            trainer.model, trainer.images, trainer.train[:OBSERVED_IMAGES]
        ).items():
            theta = torch.stack([mse(histogram, T, start=0.5) for T in STEPS]).cpu()
            thresholds[path] = _above_zero(theta)
    write_weights(trainer.folder.best, replace(best, about=about, thresholds=thresholds))


def _above_zero(theta: Tensor) -> Tensor:
    """Give channels that were never active the largest threshold, which mutes what strays there."""
    largest = theta.amax(1, keepdim=True)
    fallback = torch.where(largest > 0, largest, 1.0)
    return torch.where(theta > 0, theta, fallback)
