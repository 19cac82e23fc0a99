"""A current that is the same at every step, though another for each image, in bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_LARGEST = 127
_BASE = 2 * _LARGEST + 1


@dataclass(frozen=True)
class Digits:
    """How a layer reads such a current.

    Its value ``[K, H, W]`` in units of the membrane, of digits d_i::

        coefficient * sum_i 255^i * d_i,   |d_i| <= largest_i

    Every digit is a source, which enters by a shortcut. What is beyond the largest such value
    counts as that, at which neurons fire at every step, or at none, whatever else enters.

    Attributes:
        largest: of each digit, 127 at most, by the name of its source; the lowest first.
        coefficient: integers ``[K]``, 1 or more.
    """

    largest: Mapping[str, int]
    coefficient: Tensor

    @classmethod
    def for_layer(cls, name: str, most: Tensor, theta: Tensor, bits: int) -> Digits:
        """As few digits as are fine enough.

        Args:
            name: of the layer.
            most: int64 ``[K]``, the largest value that they must hold.
            theta: int64 ``[K]``, thresholds.
            bits: a current is known to theta / 2^bits, where a digit for each 8 of them and one
                more hold it.
        """
        for count in range(1, bits // 8 + 2):
            least = most.double() / ((_BASE**count - 1) // 2)
            # A power of two: multiples of it, as units often are of one another, are exact.
            coefficient = least.log2().ceil().clamp(min=0).exp2()
            if bool((coefficient <= (theta >> bits).clamp(min=1)).all()):
                break
        place = _BASE ** (count - 1)
        beyond = float((most / coefficient).max()) - (place - 1) // 2
        last = max(1, math.ceil(beyond / place))
        values = [_LARGEST] * (count - 1) + [last]
        largest = {f"{name}+{i}": value for i, value in enumerate(values)}
        return cls(largest, coefficient.to(torch.int64))

    def coefficients(self) -> Iterator[tuple[str, Tensor]]:
        """What each digit is multiplied with, by the name of its source."""
        for i, name in enumerate(self.largest):
            yield name, self.coefficient * _BASE**i

    def to(self, like: torch.device | torch.dtype) -> Digits:
        """The same with its tensor on a device, or in a dtype."""
        return replace(self, coefficient=self.coefficient.to(like))

    def of(self, current: Tensor, unit: Tensor) -> tuple[Tensor, ...]:
        """The digits int8 of a current ``[B, K, H, W]``, rounded to the nearest.

        Args:
            current: in units of the network; at NaN a neuron fires at no step, as without digits.
            unit: float64 ``[K]``: what 1 in units of the membrane is worth there.

        Example:
            >>> two = Digits({"low": 127, "high": 3}, torch.tensor([2]))
            >>> half = torch.tensor([0.5], dtype=torch.float64)
            >>> [digit.item() for digit in two.of(torch.full((1, 1, 1, 1), 300.4), half)]
            [45, 1]
        """
        worth = (self.coefficient * unit).view(-1, 1, 1)
        most = sum(largest * _BASE**i for i, largest in enumerate(self.largest.values()))
        left = current.to(torch.float64) / worth
        left.nan_to_num_(-math.inf).clamp_(-most, most).round_()
        digits = []
        for _ in self.largest:
            above = (left / _BASE).round_()  # no tie: the base is odd
            digits.append(left.sub_(above, alpha=_BASE).to(torch.int8))
            left = above
        return tuple(digits)
