"""Threshold = where gradient steps on the clipping error lead (local threshold balancing, 2025)."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeconv.calibrate.layer import Layer

_STEPS = 1000
_RATE = 1.0


def balance(layer: Layer) -> Tensor:
    """theta_c after `_STEPS` steps theta <- theta + eta E[2 (z - theta)+] from 0. float32 ``[C]``.

    Each step is one of gradient descent on the clipping error E[(max(z, 0) - min(z, theta))^2];
    eta = 1. The method draws a batch for every step; here E is over all calibration data at every
    step, which is what its steps do on average. So the result is deterministic, and needs no more
    than the histogram, whose values count as the centres of their bins.

    A channel that is rarely active is not there after so many steps: of one that is 1 with
    probability p and else 0, theta = 1 - (1 - 2p)^1000. One that is nearly always active goes
    beyond its largest current in a step; then theta is that current.

    Source: Bu, Li, Yu, "Inference-Scale Complexity in ANN-SNN Conversion for High-Performance and
    Low-Power Applications", CVPR 2025.
    """
    histogram = layer.histogram
    part = histogram.counts.double() / histogram.seen.clamp(min=1).unsqueeze(1)
    centres = histogram.centres().double()
    # Of the bins from i on: how much of the data lies there, and their share of E[max(z, 0)].
    nothing = torch.zeros_like(part[:, :1])
    above = torch.cat([part.flip(1).cumsum(1).flip(1), nothing], 1)
    first_moment = torch.cat([(part * centres).flip(1).cumsum(1).flip(1), nothing], 1)
    theta = nothing.clone()
    for _ in range(_STEPS):
        at = torch.searchsorted(centres, theta)
        excess = first_moment.gather(1, at) - theta * above.gather(1, at)
        theta += _RATE * 2 * excess.clamp(min=0)
    return theta.squeeze(1).float().minimum(histogram.largest)
