"""COS: the initial potential, for each neuron and image, that moves its count by a spike."""

from __future__ import annotations

import torch
from torch import Tensor

# Of theta: how far below, or above, the threshold the nearest step is moved.
MARGIN = 1e-3


def offset_potential(spikes: Tensor, v: Tensor, v_threshold: Tensor, v_init: Tensor) -> Tensor:
    """Initial potential of the second run of neurons, from a first one of rho steps.

    With m_t = v_t + theta * s_t, the potential before the reset::

        m_fire  = min of m_t where s_t = 1           m_quiet = max of m_t where s_t != 1
        v0 = v_init - max(theta, m_fire - 0.999 theta)    if v_rho < 0 and sum s_t > 0
        v0 = v_init + max(theta, 1.001 theta - m_quiet)   if v_rho >= theta
        v0 = v_init                                       otherwise

    A neuron that ends below 0 fired once too often for what came in, one that ends at theta or
    above not often enough, because of the order in which its spikes came; such a start makes it
    one spike less or more. A neuron that fired at every step cannot fire more and stays as it is.
    A signed neuron's spikes of -1 count in the sum, and as steps where it did not fire.

    Args:
        spikes: -1, 0 and 1, ``[rho, B, *]``.
        v: potentials after each step's reset by subtraction, ``[rho, B, *]``.
        v_threshold: theta, broadcasts to ``[*]``.
        v_init: where the first run started, likewise.

    Returns:
        v0 ``[B, *]`` in the dtype of v.

    Source: Hao et al., "Bridging the Gap between ANNs and SNNs by Calibrating Offset Spikes",
    ICLR 2023; one pass.

    Example:
        From 0.5, currents 0.75 and -1.5 give potentials 1.25 and -1.25: a spike for a negative
        sum. Starting one theta lower there is none.

        >>> spikes, v = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.25], [-1.25]])
        >>> offset_potential(spikes, v, torch.tensor(1.0), torch.tensor(0.5)).tolist()
        [-0.5]
    """
    fired = spikes > 0
    # A 0-dim theta would leave the product in half precision where the spikes are.
    m = v + v_threshold * spikes.to(v.dtype)
    m_fire = torch.where(fired, m, torch.inf).amin(0)
    m_quiet = torch.where(fired, -torch.inf, m).amax(0)
    too_many = (v[-1] < 0) & (spikes.sum(0, dtype=torch.float32) > 0)
    too_few = (v[-1] >= v_threshold) & ~fired.all(0)
    less = v_init - torch.maximum(v_threshold, m_fire - (1 - MARGIN) * v_threshold)
    more = v_init + torch.maximum(v_threshold, (1 + MARGIN) * v_threshold - m_quiet)
    v0 = torch.where(too_many, less, torch.where(too_few, more, v_init))
    return v0.to(v.dtype)
