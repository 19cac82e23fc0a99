"""Fields of bytes, and the factors that a matrix product takes from them, byte by byte."""

from __future__ import annotations

import doctest

import pytest
import torch
import triton
import triton.language as tl

from spikeconv.kernels import fields
from spikeconv.kernels.fields import (
    LARGEST_FACTOR,
    TURN,
    bits_for,
    factor,
    get,
    product,
    put,
)
from tests.kernels.if_case import DEVICE


@triton.jit
def fields_kernel(
    bytes_ptr,
    values_ptr,
    factors_ptr,
    products_ptr,
    back_ptr,
    BITS: tl.constexpr,
    UP: tl.constexpr,
) -> None:
    n = tl.arange(0, 256)
    x = tl.load(bytes_ptr + n)
    back = tl.zeros([256], tl.int32)
    for i in tl.static_range(8 // BITS):
        value = get(x, BITS, i)
        one = factor(x, BITS, i)
        tl.store(values_ptr + i * 256 + n, value)
        tl.store(factors_ptr + i * 256 + n, one.to(tl.int32))
        # Weights 5 and -3 on this field and on a fixed one of the byte 0: their sum is 2.
        nothing = factor(x ^ x, BITS, i).to(tl.int32)
        acc = 5 * one.to(tl.int32) - 3 * nothing
        total = product(acc, tl.full([256], 2, tl.int32), BITS, i, UP)
        tl.store(products_ptr + i * 256 + n, total)
        back |= put(value, BITS, i)
    tl.store(back_ptr + n, back)


def test_examples() -> None:
    assert doctest.testmod(fields).attempted > 0
    assert doctest.testmod(fields).failed == 0


@pytest.mark.parametrize("up", [0, 3, 7, 10])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_every_byte(bits: int, up: int) -> None:
    numbers = torch.arange(256, dtype=torch.int32)
    outputs = [torch.zeros(8 // bits, 256, dtype=torch.int32, device=DEVICE) for _ in range(3)]
    back = torch.zeros(256, dtype=torch.int32, device=DEVICE)
    fields_kernel[(1,)](
        numbers.to(torch.uint8).view(torch.int8).to(DEVICE), *outputs, back, bits, up
    )
    values, factors, products = (output.cpu() for output in outputs)
    for i in range(8 // bits):
        raw = (numbers >> (bits * i)) & ((1 << bits) - 1)
        signed = torch.where(raw >= 1 << (bits - 1), raw - (1 << bits), raw)
        assert torch.equal(values[i], raw if bits == 1 else signed)
    assert torch.equal(products, (5 * values) << up)
    assert factors.abs().max() <= LARGEST_FACTOR
    assert torch.equal(back.cpu() & 255, numbers)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("largest", [1, 2, 7, 8, 127])
def test_bits_hold_the_largest_sum_and_fill_turns(largest: int, signed: bool) -> None:
    bits = bits_for(largest, signed)
    assert 8 % bits == 0
    assert TURN * bits % 8 == 0
    highest = 1 if bits == 1 else 2 ** (bits - 1) - 1
    assert largest <= highest
    assert not (signed and bits == 1)
