"""The neuron with a gradient that ours is measured against: a plain torch loop and SpikingJelly."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

import rivals
from rivals import Scan

ALPHA = 2.0
"""Everybody's surrogate is the derivative of atan(pi / 2 * ALPHA * u) / pi."""


class _Spike(torch.autograd.Function):
    """The step at 0 with that surrogate, as one would write it in a project of one's own."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        u: Tensor = ctx.saved_tensors[0]
        return grad * (ALPHA / 2 / (1 + (math.pi / 2 * ALPHA * u).square()))


def torch_loop(hard: bool) -> Scan:
    """A loop over time, the membrane in float32."""

    def scan(x: Tensor) -> Tensor:
        v = torch.zeros_like(x[0], dtype=torch.float32)
        steps = []
        for current in x.unbind(0):
            m = v + current
            s: Tensor = _Spike.apply(m - 1.0)  # type: ignore[no-untyped-call]
            v = (1.0 - s) * m if hard else m - s
            steps.append(s.to(x.dtype))
        return torch.stack(steps)

    return scan


def spikingjelly_if(dtype: torch.dtype, hard: bool) -> Scan:
    """SpikingJelly's, as in rivals.py, with its own ATan."""
    atan = import_module("spikingjelly.activation_based.surrogate").ATan(ALPHA)
    return rivals.spikingjelly_if(dtype, 0.0 if hard else None, atan)
