"""Surrogates: what stands in for the derivative of a spike, which has none, in the backward pass.

A neuron fires where u = m - v_threshold reaches 0. The forward pass keeps that step; the backward
pass takes ds/dm = h(u) instead of its derivative. Here stand three usual h, and the ways to bring
one's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

# exp(r) = 1 + r + r^2 q(r) for |r| <= log(2) / 2, with a relative error of 3e-9 before rounding:
# the coefficients of q, lowest first, by a minimax fit.
_EXP = (0.49999994, 0.1666652, 0.041668393, 0.008368781, 0.0013814468)
_LOG2_E = 1.442695
# log(2) in two parts: a small integer times the first is exact.
_LOG_2_HIGH, _LOG_2_LOW = 0.693359375, -2.1219444e-4
# Adding it to a small number leaves the nearest integer in the last bits; even ones win ties.
_ROUND = 12582912.0
# Below, exp would soon be subnormal, which some processors are set to flush.
_EXP_LEAST = -87.0


def _exp(y: Tensor) -> Tensor:
    """exp(y) for y <= 0, within 2 units in the last place and not below exp(-87).

    In float32 from additions and products alone, in an order that every backend keeps, so that all
    of them give the same bits.
    """
    if y.dtype != torch.float32:
        return torch.exp(y)
    y = torch.where(y < _EXP_LEAST, _EXP_LEAST, y)
    shifted = y * _LOG2_E + _ROUND
    k = shifted - _ROUND
    r = (y - k * _LOG_2_HIGH) - k * _LOG_2_LOW
    q = r * _EXP[4] + _EXP[3]
    q = q * r + _EXP[2]
    q = q * r + _EXP[1]
    q = q * r + _EXP[0]
    power = ((shifted.view(torch.int32) << 23) + 0x3F800000).view(torch.float32)
    return ((q * (r * r) + r) + 1.0) * power


class Surrogate:
    """A derivative in place of that of the step; make your own by overriding `derivative`.

    Called like a function it gives the derivative. Where no subclass is needed any function of u
    will do in its place: ``if_multistep(x, surrogate=lambda u: torch.exp(-u.abs()))``.

    Example:
        >>> class Boxcar(Surrogate):
        ...     def derivative(self, u):
        ...         return (u.abs() < 0.5).to(u.dtype)
        >>> Boxcar()(torch.tensor([-1.0, 0.25]))
        tensor([0., 1.])
    """

    def derivative(self, u: Tensor) -> Tensor:
        """h(u), elementwise: u = m - v_threshold, float32 or float64 ``[T, *]``; the same back."""
        raise NotImplementedError(f"{type(self).__name__} must define derivative(u)")

    def __call__(self, u: Tensor) -> Tensor:
        return self.derivative(u)


class BuiltIn(Surrogate):
    """A surrogate that the kernels know by name, with one positive number as its parameter."""

    name: ClassVar[str]

    @property
    def parameter(self) -> float:
        """Its one number."""
        raise NotImplementedError(f"{type(self).__name__} must define parameter")

    @property
    def coefficients(self) -> tuple[float, float]:
        """The numbers of its formula."""
        raise NotImplementedError(f"{type(self).__name__} must define coefficients")


def _check_positive(argument: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument} must be a number, got {type(value).__name__}")
    # Squares and inverses of it are then finite in float32 as well.
    if not 1e-18 <= float(value) <= 1e18:
        raise ValueError(f"{argument} must be from 1e-18 to 1e18, got {value}")


@dataclass(frozen=True)
class Sigmoid(BuiltIn):
    """h(u) = alpha e / (1 + e)^2 with e = exp(-alpha |u|): the derivative of sigmoid(alpha u).

    Args:
        alpha: steepness, 1e-18 to 1e18; h(0) = alpha / 4.

    Raises:
        TypeError, ValueError: alpha is no such number.

    Example:
        >>> Sigmoid(alpha=4.0)(torch.tensor([0.0, 1.0]))
        tensor([1.0000, 0.0707])
    """

    name = "sigmoid"
    alpha: float = 4.0

    def __post_init__(self) -> None:
        _check_positive("Sigmoid: alpha", self.alpha)

    @property
    def parameter(self) -> float:
        return float(self.alpha)

    @property
    def coefficients(self) -> tuple[float, float]:
        return float(self.alpha), 0.0

    def derivative(self, u: Tensor) -> Tensor:
        alpha, _ = self.coefficients
        e = _exp(-(u.abs() * alpha))
        d = e + 1.0
        return (e * alpha) / (d * d)


@dataclass(frozen=True)
class ATan(BuiltIn):
    """h(u) = alpha / 2 / (1 + (pi alpha u / 2)^2): the derivative of atan(pi alpha u / 2) / pi.

    Source: Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of
    Spiking Neural Networks", ICCV 2021.

    Args:
        alpha: steepness, 1e-18 to 1e18; h(0) = alpha / 2.

    Raises:
        TypeError, ValueError: alpha is no such number.

    Example:
        >>> ATan(alpha=2.0)(torch.tensor([0.0, 1.0]))
        tensor([1.0000, 0.0920])
    """

    name = "atan"
    alpha: float = 2.0

    def __post_init__(self) -> None:
        _check_positive("ATan: alpha", self.alpha)

    @property
    def parameter(self) -> float:
        return float(self.alpha)

    @property
    def coefficients(self) -> tuple[float, float]:
        return math.pi / 2 * self.alpha, self.alpha / 2

    def derivative(self, u: Tensor) -> Tensor:
        slope, height = self.coefficients
        z = u * slope
        # A number over a tensor would be that number times a reciprocal, and be rounded twice.
        return torch.full_like(u, height) / (z * z + 1.0)


@dataclass(frozen=True)
class PiecewiseLinear(BuiltIn):
    """h(u) = max(0, 1 - |u| / width) / width: a triangle around the threshold.

    SpikingJelly calls it PiecewiseQuadratic, after its integral, with alpha = 1 / width.
    Source: Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking
    neurons", NeurIPS 2018.

    Args:
        width: how far from the threshold the derivative reaches, 1e-18 to 1e18; h(0) =
            1 / width.

    Raises:
        TypeError, ValueError: width is no such number.

    Example:
        >>> PiecewiseLinear(width=2.0)(torch.tensor([0.0, -1.0, 3.0]))
        tensor([0.5000, 0.2500, 0.0000])
    """

    name = "piecewise_linear"
    width: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("PiecewiseLinear: width", self.width)

    @property
    def parameter(self) -> float:
        return float(self.width)

    @property
    def coefficients(self) -> tuple[float, float]:
        height = 1.0 / self.width
        return height, height * height

    def derivative(self, u: Tensor) -> Tensor:
        height, slope = self.coefficients
        h = height - u.abs() * slope
        return torch.where(h < 0, 0.0, h)  # NaN stays NaN


@dataclass(frozen=True)
class Scaled(Surrogate):
    """h(u) = g(u / scale) / scale: a surrogate g that is given for thresholds of 1, for others.

    Example:
        >>> Scaled(PiecewiseLinear(), 2.0)(torch.tensor([0.0, 1.0]))
        tensor([0.5000, 0.2500])
    """

    surrogate: Callable[[Tensor], Tensor]
    scale: float

    def derivative(self, u: Tensor) -> Tensor:
        return self.surrogate(u / self.scale) / self.scale


def scaled(surrogate: Callable[[Tensor], Tensor], scale: float) -> Surrogate:
    """The same, as a surrogate that kernels know where the one given is.

    >>> scaled(ATan(2.0), 4.0), scaled(PiecewiseLinear(1.0), 4.0)
    (ATan(alpha=0.5), PiecewiseLinear(width=4.0))
    """
    if type(surrogate) is Sigmoid or type(surrogate) is ATan:
        return type(surrogate)(surrogate.alpha / scale)
    if type(surrogate) is PiecewiseLinear:
        return PiecewiseLinear(surrogate.width * scale)
    return Scaled(surrogate, scale)


BUILT_IN: dict[str, Callable[[float], BuiltIn]] = {
    kind.name: kind for kind in (Sigmoid, ATan, PiecewiseLinear)
}


def built_in(name: str, parameter: float) -> BuiltIn:
    """The surrogate of that name, as kernels are told of it.

    >>> built_in("atan", 2.0)
    ATan(alpha=2.0)
    """
    return BUILT_IN[name](parameter)


@dataclass(frozen=True)
class FromSpikeFunction(Surrogate):
    """The derivative of another library's spike function, as autograd finds it.

    SpikingJelly, snnTorch and others have functions of u that return spikes and bring a derivative
    of their own. Not under torch.compile, which cannot look into such a call.

    Args:
        function: takes u, returns spikes of its shape that autograd can differentiate.

    Raises:
        TypeError: the function cannot be called.
        ValueError: at the call, if what it returns has another shape or no gradient.

    Example:
        >>> FromSpikeFunction(torch.sigmoid)(torch.tensor([0.0]))
        tensor([0.2500])
    """

    function: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(
                f"FromSpikeFunction: function must be callable, got {type(self.function).__name__}"
            )

    def derivative(self, u: Tensor) -> Tensor:
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            spikes = self.function(u)
            if spikes.shape != u.shape or not spikes.requires_grad:
                raise ValueError(
                    "FromSpikeFunction: function must return spikes of shape "
                    f"{list(u.shape)} that have a gradient, got shape {list(spikes.shape)}, "
                    f"requires_grad={spikes.requires_grad}"
                )
            (derivative,) = torch.autograd.grad(spikes, u, torch.ones_like(spikes))
        return derivative
