"""Trained bounds of activations change little by little."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from spikeconv.activation import LEAST_BOUND, Clip

MOST = 0.1
"""Share of itself that a step may add to a bound, or take from it."""


class Bounds:
    """The bounds of a model's clipped and quantised activations.

    The gradient of a bound is a sum over all neurons of a layer, however small the bound is: a step
    of SGD can take a small one below 0, which silences its layer for good.

    Args:
        model: on the device that it is trained on.
    """

    def __init__(self, model: nn.Module) -> None:
        self._bounds = [module.bound for module in model.modules() if isinstance(module, Clip)]

    @contextmanager
    @torch.no_grad()
    def limited(self) -> Iterator[None]:
        """Inside, a step is taken; after it each bound is within `MOST` of what it was.

        And at least `LEAST_BOUND`, below which it has no gradient.
        """
        if not self._bounds:
            yield
            return
        before = torch.stack(self._bounds).clamp(min=LEAST_BOUND)
        yield
        least = (before * (1 - MOST)).clamp(min=LEAST_BOUND)
        after = torch.stack(self._bounds).clamp(least, before * (1 + MOST))
        for bound, value in zip(self._bounds, after.unbind(), strict=True):
            bound.copy_(value)
