"""Everything that a training run depends on besides model and data, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from spikeconv.train.augment import check_names

SCHEDULES = ("cosine", "onecycle")
OPTIMIZERS = ("sgd", "muon")
MOST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Recipe:
    """How to train a network that is made to be converted.

    Args:
        epochs: passes over the training images, 1 or more.
        batch: images in a step, over all processes; the last, smaller batch of an epoch is left
            out.
        lr: highest learning rate of SGD, above 0.
        momentum: of SGD (Nesterov), in [0, 1).
        weight_decay: L2 penalty on every parameter that SGD trains, bounds of activations included;
            0 or more.
        optimizer: ``"sgd"``, or ``"muon"`` for the weights of all layers but the first, the last
            and grouped convolutions (torch 2.9 or newer), and SGD for all else.
        muon_lr: highest learning rate of Muon, above 0.
        schedule: ``"cosine"`` from lr to 0, or ``"onecycle"`` (up to lr and down again).
        augment: names of augmentations, in their order.
        holdout: images of the training set that are never trained on and pick the checkpoint; with
            none, the last epoch is the best.
        seed: draws weights, held-out images, order and augmentation; from 0 to `MOST_SEED`.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        bf16: convolutions in bfloat16 (autocast); weights stay float32.
        compile: run the network through torch.compile.
        limit: train on so many images only, or None for all that are not held out.

    Raises:
        TypeError, ValueError: a field of another type, or out of its range; names it.

    Source of the defaults: the code of Bu et al., "Optimal ANN-SNN Conversion for High-accuracy and
    Ultra-low-latency Spiking Neural Networks", ICLR 2022.

    Example:
        >>> Recipe(epochs=30, schedule="onecycle").batch
        128
    """

    epochs: int = 300
    batch: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    optimizer: str = "sgd"
    muon_lr: float = 0.05
    schedule: str = "cosine"
    augment: tuple[str, ...] = ("crop", "flip")
    holdout: int = 5000
    seed: int = 0
    label_smoothing: float = 0.0
    bf16: bool = False
    compile: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        least = {"epochs": 1, "batch": 1, "holdout": 0, "seed": 0, "limit": 1}
        for field, minimum in least.items():
            value = getattr(self, field)
            if field == "limit" and value is None:
                continue
            if type(value) is not int:
                raise TypeError(f"Recipe: {field} must be an int, got {value!r}")
            if value < minimum:
                raise ValueError(f"Recipe: {field} must be {minimum} or more, got {value}")
        if self.seed > MOST_SEED:
            raise ValueError(f"Recipe: seed must be at most {MOST_SEED:,}, got {self.seed}")
        for field in ("lr", "muon_lr"):
            value = getattr(self, field)
            if not 0 < value < float("inf"):
                raise ValueError(f"Recipe: {field} must be above 0 and finite, got {value}")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(
                f"Recipe: weight_decay must be 0 or more and finite, got {self.weight_decay}"
            )
        for field in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"Recipe: {field} must be in [0, 1), got {getattr(self, field)}")
        for field, names in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            if getattr(self, field) not in names:
                known = " or ".join(map(repr, names))
                raise ValueError(f"Recipe: {field} must be {known}, got {getattr(self, field)!r}")
        check_names(self.augment)
