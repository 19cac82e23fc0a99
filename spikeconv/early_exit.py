"""Early exit: an image is answered at the first step at which the network is sure of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

# Points of a curve where nothing else is said.
CONFIDENCES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


class Exit(NamedTuple):
    """What images were answered, and when.

    Attributes:
        logits: ``[B, C]``, each image's at the step at which it left.
        steps: int64 ``[B]``, that step, 1 to T.
    """

    logits: Tensor
    steps: Tensor


@dataclass(frozen=True)
class ExitCurve:
    """Accuracy against the mean number of steps, one point for each confidence.

    Attributes:
        confidences: what the network had to be sure by, above 0, at most 1.
        steps: mean steps of an image, 1 to T; those before the readout count.
        accuracies: 0 to 1.
    """

    confidences: list[float]
    steps: list[float]
    accuracies: list[float]

    def __str__(self) -> str:
        points = zip(self.confidences, self.steps, self.accuracies, strict=True)
        lines = [f"{c:8g}  {a:8.2%} in {s:.2f} steps" for c, s, a in points]
        return "\n".join(lines)


def check_confidence(function: str, confidence: float) -> None:
    """Raise where a confidence is no number in (0, 1]."""
    if isinstance(confidence, bool) or not isinstance(confidence, Real):
        kind = type(confidence).__name__
        raise TypeError(f"{function}: confidence must be a number, got {kind}")
    if not 0 < confidence <= 1:
        raise ValueError(f"{function}: confidence must be above 0 and at most 1, got {confidence}")


def certainty(logits: Tensor) -> Tensor:
    """The largest class's share ``[*]`` in the softmax of logits ``[*, C]``; 0 where that is NaN.

    In float32 or wider: in half precision, 0.999 is 1.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.softmax(-1, dtype=wide).amax(-1).nan_to_num(nan=0.0)


def early_exit(logits: Tensor, confidence: float) -> Exit:
    """Read every image at the first step at which its answer is sure.

    ::

        steps = the first t with max softmax(logits_t) >= confidence, T if there is none

    Source: Li, Geller, Kim, Panda, "SEENN: Towards Temporal Spiking Early-Exit Neural Networks",
    NeurIPS 2023 (there SEENN-I).

    Args:
        logits: ``[T, B, C]`` after every step, as ``snn(x, readout="all")`` gives them.
        confidence: above 0, at most 1.

    Returns:
        ``(logits, steps)``: ``[B, C]`` and int64 ``[B]``.

    Raises:
        TypeError, ValueError: naming the argument.

    Example:
        Of two images the first is sure by 0.88 after one step, the second never.

        >>> logits = torch.tensor([[[2.0, 0], [0.0, 0]], [[3.0, 0], [1.0, 0]]])
        >>> early_exit(logits, 0.8).steps.tolist()
        [1, 2]
        >>> early_exit(logits, 0.8).logits.tolist()
        [[2.0, 0.0], [1.0, 0.0]]
    """
    _check_logits("early_exit", logits)
    check_confidence("early_exit", confidence)
    last = _exits(certainty(logits), [confidence])[0]
    return Exit(logits[last, torch.arange(len(last), device=last.device)], last + 1)


def early_exit_curve(
    logits: Tensor, labels: Tensor, confidences: Sequence[float] = CONFIDENCES
) -> ExitCurve:
    """Mean steps and accuracy of `early_exit` for each of several confidences.

    Args:
        logits: ``[T, B, C]`` after every step, B >= 1.
        labels: int64 ``[B]``.
        confidences: each above 0, at most 1.

    Returns:
        The curve, in the order of the confidences.

    Raises:
        TypeError, ValueError: naming the argument.

    Example:
        >>> logits = torch.tensor([[[2.0, 0], [0.5, 0]], [[3.0, 0], [0.0, 1]]])
        >>> curve = early_exit_curve(logits, torch.tensor([0, 1]), [0.6, 0.8, 0.9])
        >>> list(zip(curve.steps, curve.accuracies))
        [(1.0, 0.5), (1.5, 1.0), (2.0, 1.0)]
    """
    counter = ExitCounter(confidences, "early_exit_curve")
    counter.add(logits, labels)
    return counter.curve()


class ExitCounter:
    """`early_exit_curve`, batch by batch: keeps two numbers for each confidence, and no logits.

    Args:
        confidences: each above 0, at most 1.
        function: what errors say was called.
    """

    def __init__(
        self, confidences: Sequence[float] = CONFIDENCES, function: str = "ExitCounter"
    ) -> None:
        for confidence in confidences:
            check_confidence(function, confidence)
        self.function = function
        self.confidences = list(confidences)
        self.images = 0
        self._steps = torch.zeros(len(confidences), dtype=torch.int64)
        self._correct = torch.zeros(len(confidences), dtype=torch.int64)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count the images of logits ``[T, B, C]`` and labels ``[B]``."""
        _check_logits(self.function, logits)
        if labels.shape != logits.shape[1:2]:
            raise ValueError(
                f"{self.function}: labels must be [{logits.shape[1]}], one for each image of the "
                f"logits, got {list(labels.shape)}"
            )
        last = _exits(certainty(logits), self.confidences)
        correct = (logits.argmax(-1) == labels).gather(0, last)
        self.images += len(labels)
        self._steps += (last + 1).sum(1).cpu()
        self._correct += correct.sum(1).cpu()

    def add_up(self, total: Callable[[Tensor], Tensor]) -> None:
        """Take in what other processes have counted; `total` sums an int64 tensor over them all."""
        counts = total(torch.cat([torch.tensor([self.images]), self._steps, self._correct]))
        self.images = int(counts[0])
        self._steps, self._correct = counts[1:].chunk(2)

    def curve(self) -> ExitCurve:
        """The curve over all images so far.

        Raises:
            ValueError: there are none.
        """
        if self.images == 0:
            raise ValueError(f"{self.function}: a curve needs at least one image, got none")
        means = ((n.double() / self.images).tolist() for n in (self._steps, self._correct))
        return ExitCurve(list(self.confidences), *means)


def _exits(certain: Tensor, confidences: Sequence[float]) -> Tensor:
    """Index of the step ``[K, B]`` at which images leave, from how sure they are ``[T, B]``."""
    grid = certain.new_tensor(confidences).view(-1, 1, 1)
    not_yet = certain.cummax(0).values < grid
    return not_yet.sum(1).clamp(max=len(certain) - 1)


def _check_logits(function: str, logits: Tensor) -> None:
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        given = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"{function}: logits must be a floating-point tensor, got {given}")
    if logits.dim() != 3 or len(logits) == 0 or logits.shape[2] == 0:
        raise ValueError(
            f"{function}: logits must be [T, B, C] with T and C at least 1, "
            f"got {list(logits.shape)}"
        )
