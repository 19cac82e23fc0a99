"""The neuron by the book, in numpy and one step at a time: what the native operators must equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Neurons:
    """N neurons with everything spelt out: one threshold, potential and count each."""

    x: Tensor  # [T, N] in the dtype under test
    theta: Floats
    v: Floats
    bias: Floats | None  # [T, N]
    net: Ints
    hard: bool
    v_reset: float
    signed: bool
    tie_fires: bool


def run(neurons: Neurons) -> tuple[NDArray[np.int8], Floats]:
    """Spikes int8 `[T, N]`, and the potentials `[T, N]` after each step."""
    theta, v, net = neurons.theta, neurons.v.copy(), neurons.net.copy()
    spikes, trace = [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for t, x in enumerate(neurons.x.float().numpy()):
            m = v + x
            if neurons.bias is not None:
                m = m + neurons.bias[t]
            plus = m >= theta if neurons.tie_fires else m > theta
            minus = (m < 0) & (net > 0) & ~plus if neurons.signed else np.zeros_like(plus)
            net = net + plus - minus
            to = np.float32(neurons.v_reset)
            v = np.where(plus, to if neurons.hard else m - theta, m)
            v = np.where(minus, to if neurons.hard else m + theta, v)
            spikes.append(plus.astype(np.int8) - minus.astype(np.int8))
            trace.append(v)
    return np.stack(spikes), np.stack(trace).astype(np.float32)


def emission(neurons: Neurons, spikes: NDArray[np.int8], emit: str) -> Tensor:
    """What the spikes int8 `[T, N]` look like in each form of output."""
    s = torch.from_numpy(spikes)
    if emit == "spikes":
        return s.to(neurons.x.dtype)
    if emit == "psp":
        theta = torch.from_numpy(neurons.theta).to(neurons.x.dtype)
        return torch.where(s == 1, theta, torch.where(s == -1, -theta, torch.zeros_like(theta)))
    if emit == "uint8":
        return s if neurons.signed else s.to(torch.uint8)
    if emit == "count":
        return s.sum(0, dtype=torch.int32)
    bits = np.left_shift(spikes.astype(np.uint32), np.arange(len(spikes), dtype=np.uint32)[:, None])
    return torch.from_numpy(np.bitwise_or.reduce(bits, axis=0).view(np.int32))
