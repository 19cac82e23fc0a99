"""One layer of an integer program as the Triton kernel takes it, on one device. Needs triton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spikeconv.fuse.engine import IntegerProgram
from spikeconv.fuse.gpu_weights import Pass, passes
from spikeconv.fuse.layer import Convolution, IntegerLayer, Shortcut
from spikeconv.kernels.conv_launch import ROWS, DensePass, EachTerm, Tile
from spikeconv.kernels.conv_sums import Dense, Each
from spikeconv.kernels.conv_tiles import Problem
from spikeconv.kernels.fields import bits_for, padded


@dataclass(frozen=True)
class GpuTerm:
    """A depthwise convolution or a shortcut.

    Attributes:
        source: name.
        spec: what the kernel's code is made for.
        coefficient: int32 ``[taps, rows]``.
    """

    source: str
    spec: Each
    coefficient: Tensor


@dataclass(frozen=True)
class GpuLayer:
    """Weights and parameters of a layer, laid out and on a device.

    Attributes:
        shape: ``(K, H, W)``.
        passes, terms: what enters.
        shift: of the sums over weights.
        signed: whether neurons also fire -1.
        theta: int32 ``[rows]``: the channels, and ones after the last.
        v_init: int32 ``[rows]``, or ``[1, H, W, K]``.
        bias: int32 ``[S, rows]``, or ``[S, H, W, K]``.
        tiles: those that were chosen, by (images, T).
    """

    shape: tuple[int, int, int]
    passes: tuple[Pass, ...]
    terms: tuple[GpuTerm, ...]
    shift: int
    signed: bool
    theta: Tensor
    v_init: Tensor
    bias: Tensor
    tiles: dict[tuple[int, int], Tile] = field(default_factory=dict)

    def dense(self, data: Mapping[str, Tensor]) -> list[DensePass]:
        """The passes with the fields that they read."""
        return [
            DensePass(_dense(one, data[one.source]), data[one.source], one.weight, self._sums(one))
            for one in self.passes
        ]

    def each(self, data: Mapping[str, Tensor]) -> list[EachTerm]:
        """The terms with the fields that they read."""
        return [EachTerm(one.spec, data[one.source], one.coefficient) for one in self.terms]

    def problem(self, images: int, T: int) -> Problem:
        """What a choice of tile depends on."""
        K, H, W = self.shape
        return Problem(
            pixels=images * H * W,
            channels=K,
            steps=T,
            depth=max((one.weight.shape[1] for one in self.passes), default=0),
            bits=max((one.bits for one in self.passes), default=1),
            sums=sum(one.last for one in self.passes),
            signed=self.signed,
            grouped=any(one.group[0] for one in self.passes),
        )

    def _sums(self, one: Pass) -> Tensor:
        return self.theta if one.sums is None else one.sums  # read only where sums end


def prepare(
    layer: IntegerLayer, program: IntegerProgram, device: torch.device, multiply: str
) -> GpuLayer:
    """Lay a layer out.

    Args:
        layer: of the program.
        program: says what its sources are.
        device: where its spikes will be.
        multiply: as in `gpu_weights.passes`.
    """
    sources = program.sources
    bits = {name: bits_for(sources[name].largest, sources[name].signed) for name in sources}
    rows = -(-layer.shape[0] // ROWS) * ROWS
    dense = [one for one in layer.convolutions if one.weight.shape[1] > 1]
    entering = passes(dense, sources, bits, rows, padded, multiply)
    for one in entering:
        one.weight = one.weight.to(device)
        one.sums = None if one.sums is None else one.sums.to(device)
    terms = [
        _depthwise(one, bits[one.source], sources[one.source].shape[0], rows, layer.shift)
        for one in layer.convolutions
        if one.weight.shape[1] == 1
    ]
    terms += [
        _shortcut(one, bits[one.source], sources[one.source].shape[0], rows)
        for one in layer.shortcuts
    ]
    return GpuLayer(
        layer.shape,
        tuple(entering),
        tuple(GpuTerm(one.source, one.spec, one.coefficient.to(device)) for one in terms),
        layer.shift,
        layer.signed,
        _by_row(layer.theta, rows, fill=1).to(device),
        _parameter(layer.v_init, rows).to(device),
        _bias(layer.bias, rows).to(device),
    )


def _dense(one: Pass, data: Tensor) -> Dense:
    how = one.convolution
    kernel = (how.weight.shape[2], how.weight.shape[3])
    return Dense(
        one.bits,
        data.shape[-1],
        one.span,
        one.depth,
        kernel,
        how.stride,
        how.padding,
        how.dilation,
        one.group,
        one.last,
        one.byte,
    )


def _depthwise(one: Convolution, bits: int, channels: int, rows: int, shift: int) -> GpuTerm:
    K, _, kh, kw = one.weight.shape
    by_tap = one.weight.cpu().reshape(K, kh * kw).T
    coefficient = _wrapped(by_tap.to(torch.int64) << shift)
    spec = Each(
        bits,
        padded(channels),
        (kh, kw),
        one.stride,
        one.padding,
        one.dilation,
        first=0,
        sources=channels,
        multiplier=K // channels,
    )
    return GpuTerm(one.source, spec, _by_row(coefficient, rows))


def _shortcut(one: Shortcut, bits: int, channels: int, rows: int) -> GpuTerm:
    coefficient = torch.zeros(1, rows, dtype=torch.int32, device="cpu")
    coefficient[0, one.channel : one.channel + channels] = one.coefficient.cpu()
    spec = Each(
        bits,
        padded(channels),
        (1, 1),
        one.stride,
        (0, 0),
        (1, 1),
        first=one.channel,
        sources=channels,
        multiplier=1,
    )
    return GpuTerm(one.source, spec, coefficient)


def _wrapped(value: Tensor) -> Tensor:
    """int64 as int32, modulo 2^32 as the sums are that it takes part in."""
    return (((value + 2**31) & (2**32 - 1)) - 2**31).to(torch.int32)


def _by_row(value: Tensor, rows: int, fill: int = 0) -> Tensor:
    """``[*, K]`` as ``[*, rows]``."""
    out = torch.full((*value.shape[:-1], rows), fill, dtype=torch.int32, device="cpu")
    out[..., : value.shape[-1]] = value.cpu()
    return out


def _parameter(value: Tensor, rows: int) -> Tensor:
    """``[K]`` by row, or ``[K, H, W]`` as ``[1, H, W, K]``."""
    if value.dim() == 1:
        return _by_row(value, rows)
    return value.permute(1, 2, 0).unsqueeze(0).contiguous()


def _bias(value: Tensor, rows: int) -> Tensor:
    """``[S, K]`` by row, or ``[S, K, H, W]`` as ``[S, H, W, K]``."""
    return _by_row(value, rows) if value.dim() == 2 else value.permute(0, 2, 3, 1).contiguous()
