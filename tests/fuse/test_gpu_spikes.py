"""Fields of bytes: trains to fields and back, and sums of fields over windows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeconv.fuse.engine import IntegerProgram, Source
from spikeconv.fuse.gpu import TritonEngine
from spikeconv.fuse.layer import Pool
from spikeconv.fuse.reference import run_pool
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.kernels.fields import bits_for
from tests.fuse.gpu_layers import DEVICE, NOWHERE, spikes_of, unpacked

DTYPES = [torch.int8, torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.float64]


def engine_of(*sources: Source) -> TritonEngine:
    return TritonEngine(IntegerProgram({}, {}, {source.name: source for source in sources}))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 19), *[st.integers(1, 4)] * 4),
    st.sampled_from([1, 4, 7, 100]),
    st.booleans(),
    st.sampled_from(DTYPES),
    st.permutations(range(5)),
    st.integers(0, 2**31),
)
def test_a_train_comes_back(shape, largest, signed, dtype, order, seed) -> None:
    train = spikes_of(shape, largest, signed, seed, density=0.7)
    engine = engine_of(Source("s", shape[2:], largest, signed, NOWHERE))
    # The same values, elsewhere in memory.
    back = [order.index(d) for d in range(5)]
    given = train.to(dtype).permute(order).contiguous().permute(back).to(DEVICE)
    packed = engine.pack("s", given)
    assert torch.equal(unpacked(packed, bits_for(largest, signed), shape[2]), train)
    assert torch.equal(engine.unpack("s", packed).cpu(), train)


def test_unsigned_spikes_of_bool_and_uint8() -> None:
    train = spikes_of((10, 2, 20, 3, 3), 1, False, seed=0)
    engine = engine_of(Source("s", (20, 3, 3), 1, False, NOWHERE))
    for dtype in (torch.bool, torch.uint8):
        packed = engine.pack("s", train.to(dtype).to(DEVICE))
        assert torch.equal(engine.unpack("s", packed).cpu(), train)


@pytest.mark.parametrize("T", [1, 8, 13, 32])
@pytest.mark.parametrize("channels", [3, 70])
def test_words_are_packed_as_their_train_is(T: int, channels: int) -> None:
    train = spikes_of((T, 2, channels, 5, 13), 1, False, seed=T, density=0.5)
    words = torch.zeros(train.shape[1:], dtype=torch.int32)
    for t in range(T):
        words |= train[t].to(torch.int32) << t
    engine = engine_of(Source("s", train.shape[2:], 1, False, NOWHERE))
    assert torch.equal(ReferenceEngine(engine.program).pack_words("s", words, T), train)
    packed = engine.pack_words("s", words.to(DEVICE), T)
    assert torch.equal(packed.data, engine.pack("s", train.to(DEVICE)).data)
    assert torch.equal(engine.unpack("s", packed).cpu(), train)


def test_a_byte_by_hand() -> None:
    # Steps 0 and 3 of nine: bits 0 and 3 of the first plane, and nothing in the second.
    train = torch.zeros(9, 1, 1, 1, 1, dtype=torch.int8)
    train[0] = train[3] = 1
    engine = engine_of(Source("s", (1, 1, 1), 1, False, NOWHERE))
    packed = engine.pack("s", train.to(DEVICE))
    assert packed.data.shape == (2, 1, 1, 1, 16)
    assert packed.data[:, 0, 0, 0, 0].tolist() == [0b1001, 0]
    # Signed, two bits a step: 1 is 01, -1 is 11.
    train[3] = -1
    engine = engine_of(Source("s", (1, 1, 1), 1, True, NOWHERE))
    packed = engine.pack("s", train.to(DEVICE))
    assert [value & 255 for value in packed.data[:, 0, 0, 0, 0].tolist()] == [0b11_00_00_01, 0, 0]


def test_nothing_to_pack() -> None:
    engine = engine_of(Source("s", (3, 2, 2), 1, False, NOWHERE))
    packed = engine.pack("s", torch.zeros(4, 0, 3, 2, 2, device=DEVICE))
    assert engine.unpack("s", packed).shape == (4, 0, 3, 2, 2)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 17),
    st.integers(1, 20),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_pools_sum_windows(T, C, kernel, stride, padding, size, signed, seed) -> None:
    # Windows may hang over the lower and the right edge.
    rows, columns = ((size[d] - 1) * stride[d] + 1 for d in (0, 1))
    train = spikes_of((T, 2, C, rows, columns), 1, signed, seed, density=0.8)
    pool = Pool("p", "s", kernel, stride, padding, (C, *size))
    engine = engine_of(
        Source("s", train.shape[2:], 1, signed, NOWHERE),
        Source("p", pool.shape, kernel[0] * kernel[1], signed, NOWHERE),
    )
    sums = engine.run_pool(pool, engine.pack("s", train.to(DEVICE)))
    assert torch.equal(engine.unpack("p", sums).cpu(), run_pool(pool, train))


@pytest.mark.parametrize("signed", [False, True])
def test_a_pool_over_a_whole_image(signed: bool) -> None:
    train = torch.ones(9, 1, 3, 11, 11, dtype=torch.int8)
    train[4] = -1 if signed else 0
    pool = Pool("p", "s", (11, 11), (1, 1), (0, 0), (3, 1, 1))
    engine = engine_of(
        Source("s", (3, 11, 11), 1, signed, NOWHERE), Source("p", (3, 1, 1), 121, signed, NOWHERE)
    )
    sums = engine.unpack("p", engine.run_pool(pool, engine.pack("s", train.to(DEVICE))))
    assert sums[:, 0, 0, 0, 0].tolist() == [121] * 4 + [-121 if signed else 0] + [121] * 4
