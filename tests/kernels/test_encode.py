"""A bias, a max-pool, neurons and packing in one kernel give what they give one after the other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikeconv.fuse.encoder import Unpooled
from spikeconv.kernels.encode import encode
from spikeconv.kernels.pack import pack_words
from spikeconv.ops import if_multistep
from tests.kernels.if_case import DEVICE, loads_stay_inside

POOLS = [
    None,
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d((1, 3), (3, 1), (0, 1)),
    nn.MaxPool2d(2, 1, 1, dilation=2),
    nn.MaxPool2d(3, 2, ceil_mode=True),
]


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def check(x: Tensor, pool: nn.MaxPool2d | None, T: int, *, offset: bool, bias: bool) -> None:
    C = x.shape[1]
    H, W = (x if pool is None else pool(x)).shape[2:]
    shift = random(C, seed=1) if offset else None
    raw = Unpooled(x, shift, pool, (C, H, W))
    theta = random(C, 1, 1, seed=2).abs() + 0.2
    v, added = random(H, W, seed=3) / 2, random(1, 1, W, seed=4) / 8 if bias else None
    # The definition: torch's pool of what has its bias already.
    current = x if shift is None else x + shift.view(-1, 1, 1)
    current = current if pool is None else pool(current)
    assert torch.equal(raw.current.nan_to_num(7.0), current.nan_to_num(7.0))
    words, _ = if_multistep(current, theta, v, added, T=T, emit="words", backend="reference")
    wanted = pack_words(words, T)
    parameters = [one if one is None else one.expand(C, H, W) for one in (theta, v, added)]
    operands = [one for one in (x, shift, *parameters) if one is not None]
    with loads_stay_inside(operands):
        found = encode(x, shift, raw.window(), *parameters, T)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("last", [False, True])
def test_every_pool(pool: nn.MaxPool2d | None, last: bool) -> None:
    x = random(2, 20, 9, 8, seed=0)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    check(x, pool, 16, offset=True, bias=False)


@pytest.mark.parametrize("T", [1, 7, 8, 9, 31, 32])
@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_steps_and_biases(T: int, offset: bool, bias: bool) -> None:
    check(random(1, 3, 5, 6, seed=5), nn.MaxPool2d(2), T, offset=offset, bias=bias)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(0, 3),
    channels=st.integers(1, 150),
    height=st.integers(2, 12),
    width=st.integers(2, 12),
    pool=st.sampled_from(POOLS[:3]),
    T=st.integers(1, 32),
)
def test_any_shape(
    batch: int, channels: int, height: int, width: int, pool: nn.MaxPool2d | None, T: int
) -> None:
    x = random(batch, channels, height, width, seed=6)
    check(x, pool, T, offset=True, bias=True)
    strided = torch.stack([x, torch.full_like(x, 1e9)], -1)[..., 0]
    check(strided.transpose(2, 3), pool, T, offset=True, bias=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -0.0, 1e-40])
def test_values_that_are_no_numbers(value: float) -> None:
    x = random(1, 4, 6, 6, seed=7)
    x[0, 1, 2:4, 3] = value
    x[0, 2] = value
    check(x, nn.MaxPool2d(3, 2, 1), 16, offset=True, bias=True)
