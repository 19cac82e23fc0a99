"""COS: the initial potential, for each neuron and image, that moves its count by a spike."""

from __future__ import annotations

import torch
from torch import Tensor

# Of theta: how far below, or above, the threshold the nearest step is moved.
MARGIN = 1e-3


def offset_potential(
    spikes: Tensor, v: Tensor, v_threshold: Tensor, v_init: Tensor, *, signed: bool = True
) -> Tensor:
    """Initial potential of the second run of neurons, from a first one of rho steps.

    With m_t = v_t + theta * s_t, the potential before the reset::

        m_fire  = min of m_t where s_t = 1           m_quiet = max of m_t where s_t != 1
        v0 = v_init - max(theta, m_fire - 0.999 theta)    if v_rho < 0 and sum s_t > 0
        v0 = v_init + max(theta, 1.001 theta - m_quiet)   if v_rho >= theta and sum s_t < rho
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
        signed: whether there may be spikes of -1; False takes less time.

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
    look = Look(v_threshold, signed=signed)
    for spikes_now, v_now in zip(spikes, v, strict=True):
        look.add(spikes_now, v_now)
    return look.potential(v_init).to(v.dtype)


class Look:
    """What `offset_potential` needs of a first run, one step after the other.

    Args:
        v_threshold: theta, broadcasts to ``[*]``.
        signed: whether there may be spikes of -1.
    """

    def __init__(self, v_threshold: Tensor, *, signed: bool) -> None:
        self._theta = v_threshold
        self._signed = signed
        self._steps = 0

    def add(self, spikes: Tensor, v: Tensor) -> None:
        """The next step.

        Args:
            spikes: -1, 0 and 1, ``[B, *]``.
            v: potentials after the reset, floating-point or int32, ``[B, *]``.
        """
        fired = spikes > 0
        # Above every potential where the neuron was quiet, below every one where it fired: the
        # larger of it and v counts for the least that fired, the smaller for the most that did not
        # (torch.where takes ten times as long on a CPU).
        if v.is_floating_point():
            limit = (0.5 - fired.to(v.dtype)) * torch.inf
        else:
            limit = fired.to(v.dtype).neg_() ^ torch.iinfo(v.dtype).max
        if v.requires_grad:  # the spikes' gradients belong to m
            fires = quiet = v + self._theta * spikes.to(v.dtype)
        else:
            # m is v + theta where it fired, but rounding keeps order: the least m is the least v,
            # plus theta once, in `potential`. After a spike of -1 it is v - theta.
            fires = v
            quiet = v + self._theta * spikes.clamp(max=0).to(v.dtype) if self._signed else v
        self._lacks_theta = fires is v
        m_fire, m_quiet = torch.maximum(fires, limit), torch.minimum(quiet, limit)
        if self._steps == 0:
            self._m_fire, self._m_quiet, self._net = m_fire, m_quiet, spikes.to(torch.float32)
        else:
            self._m_fire = torch.minimum(self._m_fire, m_fire)
            self._m_quiet = torch.maximum(self._m_quiet, m_quiet)
            self._net = self._net + spikes
        self._steps += 1
        self._v = v

    def potential(self, v_init: Tensor) -> Tensor:
        """v0 ``[B, *]``, of integers in float64.

        Args:
            v_init: where the run started, broadcasts to ``[*]``.

        Raises:
            ValueError: no step was added.
        """
        if self._steps == 0:
            raise ValueError("Look.potential: wanted one step or more, got none")
        parts = self._v, self._theta, v_init, self._m_fire, self._m_quiet
        if not self._v.is_floating_point():
            parts = tuple(part.double() for part in parts)  # type: ignore[assignment]
        v, theta, v_init, m_fire, m_quiet = parts
        if self._lacks_theta:
            m_fire = m_fire + theta
        too_many = (v < 0) & (self._net > 0)
        too_few = (v >= theta) & (self._net < self._steps)
        less = v_init - torch.maximum(theta, m_fire - (1 - MARGIN) * theta)
        more = v_init + torch.maximum(theta, (1 + MARGIN) * theta - m_quiet)
        return torch.where(too_many, less, torch.where(too_few, more, v_init))
