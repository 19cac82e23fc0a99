"""Everything that a training run depends on, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

SCHEDULES = ("cosine", "onecycle")


@dataclass(frozen=True)
class Recipe:
    """How to train a network that is made to be converted.

    Args:
        epochs: passes over the training images, 1 or more.
        batch: images in a step; the last, smaller batch of an epoch is left out.
        lr: highest learning rate of SGD, above 0.
        momentum: of SGD (Nesterov), in [0, 1).
        weight_decay: L2 penalty on every parameter, bounds of activations included.
        schedule: ``"cosine"`` from lr to 0, or ``"onecycle"`` (up to lr and down again).
        augment: names of augmentations, in their order.
        holdout: images of the training set that are never trained on and pick the checkpoint.
        seed: draws weights, held-out images, order and augmentation.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        bf16: convolutions in bfloat16 (autocast); weights stay float32.
        compile: run the network through torch.compile.

    Source of the defaults: papers.md of the QCFS authors (Bu et al., ICLR 2022).
    """

    epochs: int = 300
    batch: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    augment: tuple[str, ...] = ("crop", "flip")
    holdout: int = 5000
    seed: int = 0
    label_smoothing: float = 0.0
    bf16: bool = False
    compile: bool = False
