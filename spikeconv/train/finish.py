"""The last step of a run: thresholds into its best weights, so that they convert without images."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spikeconv.activation import Clip
from spikeconv.calibrate import ChannelHistogram, thresholds
from spikeconv.models.weights import write_weights
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

    Raises:
        ValueError: the file of best weights is damaged, or another run's.
    """
    assert trainer.folder is not None
    about = trainer.describe()
    best = trainer.folder.read_best(trainer.description(), about["epoch"], trainer.done)
    try:
        trainer.model.load_state_dict(best.state)
    except RuntimeError as error:
        raise ValueError(
            f"{trainer.folder.best}: wanted the best weights of this run, found those of another "
            "network; put the right file back, and the same command ends the run"
        ) from error
    found: dict[str, Tensor] = {}
    if not any(isinstance(module, Clip) for module in trainer.model.modules()):
        about["thresholds_T"] = list(STEPS)
        seen = observe(trainer.model, trainer.images, trainer.train[:OBSERVED_IMAGES])
        found = {path: _for_every_T(histogram) for path, histogram in seen.items()}
    write_weights(trainer.folder.best, replace(best, about=about, thresholds=found))


def _for_every_T(histogram: ChannelHistogram) -> Tensor:
    """Thresholds ``[len(STEPS), C]``."""
    return torch.stack(
        [
            thresholds(
                histogram, threshold="mse", granularity="channel", T=T, start=0.5, percent=100
            )[0]
            for T in STEPS
        ]
    ).cpu()
