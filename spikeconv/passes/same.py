"""Whether a program, run as an ANN, still computes what the network computes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, batch_of, tensors_of
from spikeconv.network.analog import run_analog
from spikeconv.network.layers import Rectifier
from spikeconv.network.program import Program
from spikeconv.network.run_step import Layers
from spikeconv.network.structure import tensors
from spikeconv.passes.errors import ConversionError, Problem
from spikeconv.passes.examine import is_close, without_levels
from spikeconv.passes.example import copies
from spikeconv.passes.other_counts import MOST_VALUES
from spikeconv.passes.tracer import call, check_output

_OTHER = (
    "its analog form gives other outputs than the network; something in it is not what it looks "
    "like, such as a layer that was changed from outside, or a transform of images that leaves "
    "torch.fx's stand-ins for tensors as they are; transform images before the network"
)
_CALLS = (
    "two calls on the same images give different outputs, and a spiking network keeps nothing from "
    "one call to the next; where self.training is False, leave out what draws random numbers, or "
    "changes a buffer or an attribute that the next call reads"
)
_UNLIKE = (
    "its analog form is the network's on calibration images, but not on dark, negative or bright "
    "ones, or on three or five of them; the values of images, or how many they are, decide "
    "something where torch.fx does not see it, such as the type or size of a result; let neither "
    "decide anything"
)
_COUNT = (
    "{} another way through its forward than two, and something else comes out; let the number of "
    "images decide nothing"
)

# How many times brighter images are, that conditions on values are met; 16 bits would overflow.
_FAR, _NEAR, _COARSE = 100.0, 8.0, 1e-4
_FEW = 0.02


@dataclass(frozen=True)
class Comparison:
    """A network, and what it has become.

    Args:
        network: frozen.
        program, layers, weights: as `lower` gives them.
        resolution: of the coarsest dtype in the network.
    """

    network: nn.Module
    program: Program
    layers: Layers
    weights: Mapping[str, Tensor]
    resolution: float

    def check(self, images: Batch) -> None:
        """Make sure that tracing and normalising have not changed what the network computes.

        Raises:
            ConversionError: they have, on these images.
        """
        first = self._given(images)
        check_output(first)
        if not self._are_close(first, self._given(images)):
            raise ConversionError([Problem("", "forward", "", _CALLS)])
        if not self._are_close(first, self._now(images)):
            raise ConversionError([Problem("", "forward", "", _OTHER)])

    def check_unlike(self, images: Batch) -> None:
        """The same for images unlike these, such as nobody may have.

        A network that refuses them, or gives no numbers, gives nothing to compare.

        Raises:
            ConversionError: for some of them something else comes out, or for these afterwards.
        """
        before = self._given(images)
        for batch in _unlike(images, _FAR if self.resolution < _COARSE else _NEAR):
            # Loosely: of brighter images rounding is more. In 16 bits little but shapes is told.
            if not self._is_same(batch, root=6):
                raise ConversionError([Problem("", "forward", "", _UNLIKE)])
        if not self._are_close(before, self._given(images)):
            raise ConversionError([Problem("", "forward", "", _CALLS)])

    def check_for(self, counts: Iterable[int], images: Batch) -> None:
        """The same for other numbers of such images, for which the network goes another way.

        Of what begins at some number more may come of more, so more are tried. A network that
        refuses so many answers nothing, so there is nothing to keep.

        Raises:
            ConversionError: it then gives something else.
        """
        limit = MOST_VALUES // max(1, sum(x[0].numel() for x in tensors_of(images)))
        several = {count * more for count in counts for more in (1, 2, 16) if count > 1}
        for count in sorted({*several, *counts}):
            if 2 < count > limit:
                break
            for sign in (1.0, -1.0):
                batch = batch_of(_times(tensor, [sign] * count) for tensor in tensors_of(images))
                if not self._is_same(batch, root=3):
                    who = "a single image goes" if count == 1 else f"{count:,} images go"
                    raise ConversionError([Problem("", "forward", "", _COUNT.format(who))])

    def _is_same(self, batch: Batch, root: int) -> bool:
        """Whether the program does as the network on images that the network may not take."""
        try:
            given = self._given(batch)
        except Exception:  # whatever a user's forward raises, it gives nothing to compare
            return True
        if not all(bool(tensor.isfinite().all()) for tensor in tensors(given)):
            return True  # beyond what its dtype holds, or its functions take
        try:
            return self._are_close(given, self._now(batch), root)
        except torch.OutOfMemoryError:
            return True
        except Exception:  # a call that takes so many images, or a size that they have
            return False

    def _given(self, images: Batch) -> Any:
        """What the network gives; it may write into copies of the images."""
        names = [item.argument for item in self.program.inputs]
        inputs = dict(zip(names, copies(images), strict=True))
        with without_levels(self.network):
            return call(self.network, type(self.network).forward, inputs)

    def _now(self, images: Batch) -> Any:
        """What the program gives; trained steps only clip on either side, as in `examine`."""
        layers = {
            name: layer.without_levels() if isinstance(layer, Rectifier) else layer
            for name, layer in self.layers.items()
        }
        return run_analog(self.program, layers, self.weights, images)

    def _are_close(self, a: Any, b: Any, root: int = 3) -> bool:
        """Whether two outputs hold tensors of the same shapes, and of nearly the same values."""
        pairs = list(itertools.zip_longest(tensors(a), tensors(b)))
        return all(
            x is not None
            and y is not None
            and x.shape == y.shape
            and (is_close(x, y, self.resolution, root) or _differ_little(x, y))
            for x, y in pairs
        )


def _differ_little(a: Tensor, b: Tensor) -> bool:
    """Whether few of many classes or indices differ, whose values may have been near to equal."""
    return not a.is_floating_point() and bool((a != b).double().mean() < _FEW)


def _unlike(images: Batch, far: float) -> Iterator[Batch]:
    """Batches of two, three and five images that are not like these two, up to so many times."""
    for factors in ((-far, far), (-1.0, 0.0, 1.0), (3.0, -1.0, 0.5, -3.0, 1.0)):
        yield batch_of(_times(tensor, factors) for tensor in tensors_of(images))


def _times(images: Tensor, factors: Sequence[float]) -> Tensor:
    """The two images in turn, times factors; what is not floating-point may be an index."""
    scales = factors if images.is_floating_point() else [1] * len(factors)
    return torch.cat([images[i % 2 : i % 2 + 1] * scale for i, scale in enumerate(scales)])
