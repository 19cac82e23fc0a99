"""What `throughput.py` times: which network, how many images at once, on how many threads."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Setting:
    """One table of contestants.

    Args:
        model: one of `networks.MODELS`.
        image_size: height and width.
        batch: images of a call.
        T: time-steps.
        threads: of the CPU.
        isa: instruction set of our kernels, None for the best.
        torch_isa: instruction set that torch is held to, None for the best.
    """

    model: str
    image_size: int
    batch: int
    T: int
    threads: int
    isa: str | None = None
    torch_isa: str | None = None

    def __str__(self) -> str:
        isa = "" if self.isa is None else f", our kernels with {self.isa}"
        isa += "" if self.torch_isa is None else f", torch with {self.torch_isa}"
        return (
            f"{self.model}, {self.image_size} x {self.image_size} pixels, batch {self.batch}, "
            f"T = {self.T}, {self.threads} thread{'s' * (self.threads != 1)}{isa}"
        )

    def to_dict(self) -> dict[str, object]:
        """The setting as JSON takes it."""
        return asdict(self)


def usual_settings(T: int, cores: int | None = None) -> list[Setting]:
    """What is timed where nothing else is asked for: the CIFAR networks on one and on two threads.

    >>> [str(s) for s in usual_settings(16, cores=1)][:1]
    ['resnet20, 32 x 32 pixels, batch 64, T = 16, 1 thread']
    """
    cores = cores or os.cpu_count() or 1
    threads = [1, 2] if cores > 1 else [1]
    small = [("resnet20", batch, n) for batch in (64, 1) for n in threads]
    large = [(model, 16, n) for model in ("resnet18", "vgg16") for n in threads]
    return [Setting(model, 32, batch, T, n) for model, batch, n in small + large]
