"""The definition of the integer program: plain torch integers, one step after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeconv.fuse.layer import Convolution, IntegerLayer, Pool, Shortcut


@dataclass(frozen=True)
class State:
    """What a population hands over where time runs in several chunks.

    Attributes:
        v: ``[B, K, H, W]``, the membranes: int32 of a layer, float32 of an encoder.
        net_count: int32 ``[B, K, H, W]`` where signed, else None.
        done: steps before.
    """

    v: Tensor
    net_count: Tensor | None
    done: int


def run_layer(
    layer: IntegerLayer, spikes: Mapping[str, Tensor], state: State | None = None
) -> tuple[Tensor, State]:
    """All steps of one layer, as `IntegerLayer` says it.

    Args:
        layer: what to add and compare.
        spikes: int8 ``[T, B, C, H, W]`` of every source.
        state: of the steps before, None where there are none.

    Returns:
        int8 spikes ``[T, B, K, H, W]``, and the state after them.
    """
    currents = _currents(layer, spikes)
    steps, batch = currents.shape[:2]
    theta = layer.theta.view(-1, 1, 1)
    if state is None:
        v = _per_neuron(layer.v_init).expand(batch, *layer.shape)
        zero = torch.zeros_like(currents[0])
        state = State(v, zero if layer.signed else None, 0)
    v, net_count, done = state.v, state.net_count, state.done
    emitted = torch.empty(currents.shape, dtype=torch.int8, device=currents.device)
    for t in range(steps):
        m = v + currents[t] + _per_neuron(layer.bias[min(done + t, len(layer.bias) - 1)])
        s = (m >= theta).to(torch.int32)
        if net_count is not None:
            s = s - ((m < 0) & (net_count > 0)).to(torch.int32)
            net_count = net_count + s
        v = m - theta * s
        emitted[t] = s
    return emitted, State(v, net_count, done + steps)


def run_pool(pool: Pool, spikes: Tensor) -> Tensor:
    """Sums over windows of int8 spikes ``[T, B, C, H, W]``, int8 ``[T, B, *pool.shape]``."""
    ones = torch.ones(1, 1, *pool.kernel, dtype=torch.int32, device=spikes.device)
    planes = spikes.flatten(0, 2).unsqueeze(1).to(torch.int32)
    window = Convolution(pool.source, ones, pool.stride, pool.padding)
    sums = _convolve(window, planes, pool.shape[1:])
    return sums.view(*spikes.shape[:2], *pool.shape).to(torch.int8)


def _per_neuron(value: Tensor) -> Tensor:
    """``[K]`` or ``[K, H, W]`` as it broadcasts to one image."""
    return value.view(-1, 1, 1) if value.dim() == 1 else value


def _currents(layer: IntegerLayer, spikes: Mapping[str, Tensor]) -> Tensor:
    """Everything but the bias, int32 ``[T, B, K, H, W]``."""
    first = spikes[next(layer.sources())]
    total = torch.zeros(*first.shape[:2], *layer.shape, dtype=torch.int32, device=first.device)
    for convolution in layer.convolutions:
        x = spikes[convolution.source].flatten(0, 1).to(torch.int32)
        accumulated = _convolve(convolution, x, layer.shape[1:])
        total += accumulated.view(total.shape) << layer.shift
    for shortcut in layer.shortcuts:
        _add_shortcut(shortcut, spikes[shortcut.source], total)
    return total


def _convolve(convolution: Convolution, x: Tensor, size: tuple[int, int]) -> Tensor:
    """A convolution of int32 ``[N, C, H, W]`` as int32 ``[N, K, *size]``, tap by tap."""
    weight, groups = convolution.weight.to(torch.int32), convolution.groups
    (sy, sx), (dy, dx), (top, left) = (
        convolution.stride,
        convolution.dilation,
        convolution.padding,
    )
    kh, kw = weight.shape[2:]
    needed = [(size[0] - 1) * sy + (kh - 1) * dy + 1, (size[1] - 1) * sx + (kw - 1) * dx + 1]
    below = max(0, needed[0] - top - x.shape[2])
    right = max(0, needed[1] - left - x.shape[3])
    x = F.pad(x, (left, right, top, below)).movedim(1, 0)  # [C, N, H, W]
    rows = weight.shape[0] // groups
    out = x.new_zeros(groups, rows, x.shape[1] * size[0] * size[1])
    for ky in range(kh):
        for kx in range(kw):
            y, z = ky * dy, kx * dx
            tap = x[:, :, y : y + (size[0] - 1) * sy + 1 : sy, z : z + (size[1] - 1) * sx + 1 : sx]
            columns = tap.reshape(groups, x.shape[0] // groups, out.shape[2])
            out += _product(weight[:, :, ky, kx].view(groups, rows, -1), columns)
    return out.view(groups * rows, x.shape[1], *size).movedim(0, 1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Products of int32 matrices, which GPUs of torch have in floating point only: as exact there,
    because no sum leaves int32, and float64 holds twice that."""
    if a.device.type == "cpu":
        return torch.bmm(a, b)
    return torch.bmm(a.to(torch.float64), b.to(torch.float64)).to(torch.int32)


def _add_shortcut(shortcut: Shortcut, s: Tensor, total: Tensor) -> None:
    """Add coefficient * s to the channels that it enters."""
    height, width = total.shape[3:]
    sy, sx = shortcut.stride
    coefficient = shortcut.coefficient.view(-1, 1, 1)
    s = s[..., ::sy, ::sx][..., :height, :width].to(torch.int32)
    total[:, :, shortcut.channel : shortcut.channel + s.shape[2]] += coefficient * s
