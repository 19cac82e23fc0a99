"""Ridge regression with the penalty that other rows pick: of many rows by moments, of few as is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

# Penalties that are tried, in units of the inputs' mean square; none of them means no change.
_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# The bias is not held back, only kept solvable.
_BIAS_PENALTY = 1e-6

Part = tuple[Tensor, Tensor]
"""Some rows: inputs ``[G, K, N]`` without the bias' 1, and targets ``[G, C, N]``, float32."""

AnyEquations = TypeVar("AnyEquations", bound="_Equations")


def regress(fitted: Iterable[Part], unseen: Iterable[Part], few: bool) -> Tensor | None:
    """The change D that makes up for targets that are missing, G regressions at once.

        argmin_D  |Y - D^T [X; 1]|^2 + penalty * |D|^2

    where the bias, D's last row, is not penalised. The penalty is the one whose change, fitted to
    some rows, has the least error on others; with it D is fitted to all.

    Args:
        fitted: rows, a part at a time.
        unseen: rows that the penalty is picked on.
        few: there are fewer rows than inputs, and memory for all of them: solved for a multiplier
            of every row in place of a weight of every input, which is the same D.

    Returns:
        D, float64 ``[G, K + 1, C]``; None where no penalty's change lowers the error of `unseen`.
    """
    if few:
        return _regress(_Rows.of(fitted), _Rows.of(unseen))
    return _regress(_Moments.of(fitted), _Moments.of(unseen))


def _regress(fitted: AnyEquations, unseen: AnyEquations) -> Tensor | None:
    def error(place: int) -> float:
        return unseen.error(fitted.solve(_PENALTIES[place]))

    place, least = _descend(error, len(_PENALTIES))
    return (fitted + unseen).solve(_PENALTIES[place]) if -math.inf < least < 0 else None


class _Equations(ABC):
    @abstractmethod
    def __add__(self: AnyEquations, other: AnyEquations) -> AnyEquations:
        """The equations of both's rows."""

    @abstractmethod
    def solve(self, penalty: float) -> Tensor:
        """D ``[G, K + 1, C]``."""

    @abstractmethod
    def error(self, change: Tensor) -> float:
        """Squared error with a change, less that without: negative where it is better."""


@dataclass(frozen=True)
class _Moments(_Equations):
    """As many unknowns as inputs, however many rows.

    Attributes:
        inputs: [X; 1] [X; 1]^T, float64 ``[G, K + 1, K + 1]``.
        targets: [X; 1] Y^T, float64 ``[G, K + 1, C]``.
    """

    inputs: Tensor
    targets: Tensor

    @staticmethod
    def of(parts: Iterable[Part]) -> _Moments:
        inputs = targets = torch.zeros((), dtype=torch.float64, device="cpu")
        for x, y in parts:
            x = _with_one(x)
            inputs = (x @ x.mT).double().add_(inputs.to(x.device))
            targets = (x @ y.mT).double().add_(targets.to(x.device))
        return _Moments(inputs, targets)

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(self.inputs + other.inputs, self.targets + other.targets)

    def solve(self, penalty: float) -> Tensor:
        size = self.inputs.diagonal(dim1=1, dim2=2)
        ridge = _ridge(size[:, :-1], penalty).expand(-1, size.shape[1]).clone()
        ridge[:, -1] = _BIAS_PENALTY * size[:, -1]
        equations = self.inputs.clone()
        equations.diagonal(dim1=1, dim2=2).add_(ridge)
        return _solution(equations, self.targets)

    def error(self, change: Tensor) -> float:
        quadratic = (change * (self.inputs @ change)).sum()
        return float(quadratic - 2 * (change * self.targets).sum())


@dataclass(frozen=True)
class _Rows(_Equations):
    """As many unknowns as rows, however many inputs: D = R^-1 X (X^T R^-1 X + 1)^-1 Y^T, R ridge.

    Attributes:
        inputs: X, float64 ``[G, K, N]``.
        targets: Y, float64 ``[G, C, N]``.
    """

    inputs: Tensor
    targets: Tensor

    @staticmethod
    def of(parts: Iterable[Part]) -> _Rows:
        inputs, targets = zip(*((x.double(), y.double()) for x, y in parts), strict=True)
        return _Rows(torch.cat(inputs, 2), torch.cat(targets, 2))

    def __add__(self, other: _Rows) -> _Rows:
        return _Rows(
            torch.cat([self.inputs, other.inputs], 2), torch.cat([self.targets, other.targets], 2)
        )

    @cached_property
    def _products(self) -> Tensor:
        """X^T X, ``[G, N, N]``."""
        return self.inputs.mT @ self.inputs

    def solve(self, penalty: float) -> Tensor:
        ridge = _ridge(self.inputs.square().sum(2), penalty)
        bias = _BIAS_PENALTY * self.inputs.shape[2]
        equations = self._products / ridge.unsqueeze(2) + 1 / bias
        equations.diagonal(dim1=1, dim2=2).add_(1)
        multipliers = _solution(equations, self.targets.mT)
        weights = self.inputs @ multipliers / ridge.unsqueeze(2)
        return torch.cat([weights, multipliers.sum(1, keepdim=True) / bias], 1)

    def error(self, change: Tensor) -> float:
        made_up = change.mT @ _with_one(self.inputs)
        return float((made_up.square() - 2 * made_up * self.targets).sum())


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)


def _ridge(size: Tensor, penalty: float) -> Tensor:
    """What every weight costs ``[G, 1]``, from the sums of squares of inputs ``[G, K]``."""
    # Where all inputs are 0 there is nothing to learn of them, but an equation to solve.
    least = torch.finfo(torch.float32).tiny
    return penalty * size.mean(1, keepdim=True).clamp(min=least)


def _solution(equations: Tensor, right: Tensor) -> Tensor:
    """Of symmetric equations; not finite where these are not."""
    factor, _ = torch.linalg.cholesky_ex(equations)
    return torch.cholesky_solve(right, factor)


def _descend(error: Callable[[int], float], count: int) -> tuple[int, float]:
    """The place of 0..count - 1 with the least error, and that error, where there is one valley.

    From the middle downhill, so that few places are looked at: every one costs a solution.

    >>> looked_at = []
    >>> _descend(lambda place: looked_at.append(place) or abs(place - 4), 6), looked_at
    ((4, 0), [2, 3, 4, 5])
    """
    known = {place: error(place) for place in (count // 2 - 1, count // 2) if place >= 0}
    place = min(known, key=known.__getitem__)
    way = 1 if place == count // 2 else -1
    while 0 <= place + way < count:
        known[place + way] = error(place + way)
        if not known[place + way] < known[place]:
            break
        place += way
    return place, known[place]
