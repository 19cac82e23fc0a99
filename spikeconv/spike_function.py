"""Surrogates as other libraries write them: a function that returns spikes and has a derivative."""

from __future__ import annotations

from typing import cast

from torch import nn

from spikeconv.surrogate import ATan, FromSpikeFunction, PiecewiseLinear, Sigmoid, Surrogate

_SPIKINGJELLY = "spikingjelly.activation_based.surrogate"

# Its surrogates whose forward pass is the step at >= 0. What its others emit is something else.
_STEPS = {
    *("ATan", "Erf", "LeakyKReLU", "LogTailedReLU", "NonzeroSignLogAbs", "PiecewiseExp"),
    *("PiecewiseLeakyReLU", "PiecewiseQuadratic", "QPseudoSpike", "Rect", "S2NN", "Sigmoid"),
    *("SoftSign", "SquarewaveFourierSeries", "SuperSpike"),
}


def as_surrogate(function: object, who: str = "IFNode") -> Surrogate | None:
    """What the backward pass needs of a ``surrogate_function`` argument.

    Args:
        function: one of `spikeconv.surrogate`, or a module of SpikingJelly's or a user's that
            returns spikes and that autograd can differentiate, or None. SpikingJelly's Sigmoid,
            ATan and PiecewiseQuadratic become ours, which are fused into the backward pass.
        who: what an error is of.

    Raises:
        TypeError: anything else. A plain function could return spikes or their derivative.

    Example:
        >>> as_surrogate(Sigmoid(alpha=2.0))
        Sigmoid(alpha=2.0)
    """
    if function is None or isinstance(function, Surrogate):
        return function
    if not isinstance(function, nn.Module):
        raise TypeError(
            f"{who}: surrogate_function must be one of spikeconv.surrogate, a module that returns "
            f"spikes, or None, got {type(function).__name__}; a function that returns spikes goes "
            "into spikeconv.surrogate.FromSpikeFunction(...), one that returns a derivative into a "
            "subclass of spikeconv.surrogate.Surrogate"
        )
    if type(function).__module__ != _SPIKINGJELLY:
        return FromSpikeFunction(function)
    name = type(function).__name__
    if name not in ("Sigmoid", "ATan", "PiecewiseQuadratic"):
        return FromSpikeFunction(function)
    alpha = float(cast(float, function.alpha))
    if name == "PiecewiseQuadratic":
        return PiecewiseLinear(1.0 / alpha)
    return Sigmoid(alpha) if name == "Sigmoid" else ATan(alpha)


def no_step(function: nn.Module) -> str | None:
    """Why a surrogate of SpikingJelly's may emit other than 0 below its threshold and 1 from it on.

    None where it is known not to.
    """
    kind = type(function)
    if kind.__module__ != _SPIKINGJELLY:
        return f"surrogate_function is {kind.__name__}, of which it is not known what it emits"
    if kind.__name__ not in _STEPS:
        return f"surrogate_function {kind.__name__} does not emit a step"
    if not getattr(function, "spiking", False):
        return f"surrogate_function {kind.__name__} is smooth (spiking=False)"
    return None
