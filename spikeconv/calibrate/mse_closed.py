"""Threshold = the least mean square error for normal currents (closed iteration, Huang 2025)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from spikeconv.calibrate.layer import Layer

# Where levels are far apart the error has several minima, but none closer than about a level, and
# that matters only where a level is wider than sigma: so many points over at most 16 sigma see it.
_GRID = 64
# Halvings of two grid cells: to sigma / 2^31, finer than float32.
_HALVINGS = 30
# A smaller part of mu than this is what rounding makes of a constant.
_CONSTANT = 1e-6


def mse_closed(layer: Layer) -> Tensor:
    """theta_c = argmin E[(q(z) - max(z, 0))^2] for z ~ N(mu_c, sigma_c^2). float32 ``[C]``.

    mu_c and sigma_c are those of the layer's currents, negative ones too, and
    q(z) = theta / n * clip(floor(n z / theta + 1/2), 0, n) is a neuron of n = T steps that starts
    from theta / 2; another start is not regarded. With c_i = (2i - 1) theta / 2n for i = 1..n, Phi
    and phi the normal distribution and density, u_i = (c_i - mu) / sigma:

        A = sum_i (2i - 1) Phi(-u_i) / n^2
        B = sum_i (mu Phi(-u_i) + sigma phi(u_i)) / n
        d error / d theta = 2 (A theta - B),    k(theta) = B / (A theta)

    The method's iteration theta <- k theta ends where k = 1, slowly for large n. Here the root is
    bracketed around the least error on a grid (k > 1 below, k < 1 above) and bisected.

    theta is at most the largest current seen, and it is that current where the normal distribution
    says nothing: for a constant current, and where it lies so far below 0 that of so many currents
    none should have been above, though some were.

    Source: Huang et al., ICML 2025; "Generalized Threshold Optimization with Harmony
    Multi-Threshold Neurons", AAAI 2026.
    """
    histogram = layer.histogram
    mu, sigma, largest = histogram.mean(), histogram.deviation(), histogram.largest.double()
    constant = sigma <= _CONSTANT * mu.abs()
    scale = torch.where(constant, 1.0, sigma)
    theta = _optimum(mu / scale, largest / scale, layer.T) * scale
    silent = torch.special.ndtr(mu / scale) * histogram.seen < 1
    return torch.where(constant | silent, largest, theta).float().minimum(histogram.largest)


def _optimum(mu: Tensor, largest: Tensor, n: int) -> Tensor:
    """The best theta in (0, largest] for N(mu, 1): all ``[C]``, float64."""
    # Below mu - 4 nearly all is clipped, and less theta is worse. Above, 2 sqrt(ln 2n) and a little
    # is as far as levels reach into the tail.
    low = (mu - 4).clamp(min=0).minimum(largest)
    high = (mu.clamp(min=0) + 4 + 2 * math.sqrt(math.log(2 * n))).minimum(largest)
    cell = (high - low) / _GRID
    terms = _terms(mu, n)
    best, least = high, torch.full_like(mu, math.inf)
    for i in range(1, _GRID + 1):
        theta = low + i * cell
        a, b = terms(theta)
        error = theta * (theta * a - 2 * b)
        best = torch.where(error < least, theta, best)
        least = torch.minimum(least, error)
    low, high = (best - cell).clamp(min=0), torch.minimum(best + cell, high)
    for _ in range(_HALVINGS):
        theta = (low + high) / 2
        a, b = terms(theta)
        more = b > a * theta
        low, high = torch.where(more, theta, low), torch.where(more, high, theta)
    return high


def _terms(mu: Tensor, n: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A and B as functions of theta."""
    odd = torch.arange(1, 2 * n, 2, dtype=torch.float64, device=mu.device)

    def terms(theta: Tensor) -> tuple[Tensor, Tensor]:
        u = theta.unsqueeze(1) * odd / (2 * n) - mu.unsqueeze(1)
        above = torch.special.erfc(u / math.sqrt(2)) / 2
        density = (u.square() / -2).exp() / math.sqrt(2 * math.pi)
        return (above @ odd) / n**2, (mu * above.sum(1) + density.sum(1)) / n

    return terms
