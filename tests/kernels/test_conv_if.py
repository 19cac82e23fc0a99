"""The convolution kernel with every tile: the tile changes nothing but the time it takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spikeconv.fuse.layer import Convolution, IntegerLayer, Shortcut
from spikeconv.kernels import conv_launch
from spikeconv.kernels.conv_launch import Tile
from tests.fixtures import int32_wraps as int32_wraps
from tests.fuse.gpu_layers import Case, integers, plain_layer, source, spikes_of
from tests.kernels.conv_case import check_tile
from tests.kernels.if_case import DEVICE

SUMS = {1: (1, False), 2: (1, True), 4: (5, True), 8: (90, True)}  # by bits: largest, signed


def layer_of(bits: int, T: int = 11, signed: bool = False) -> Case:
    """21 to 19 channels of 4 x 5 pixels, with a shortcut and a bias that changes once."""
    largest, signed_source = SUMS[bits]
    train = spikes_of((T, 2, 21, 4, 5), largest, signed_source, seed=bits)
    weight = integers(-127, 127, 19, 21, 3, 2, seed=1, dtype=torch.int8)
    layer = plain_layer(
        weight,
        (4, 5),
        theta=700 * largest,
        signed=signed,
        convolutions=(Convolution("s", weight, (1, 1), (1, 0)),),
        shortcuts=(Shortcut("s", integers(-400, 400, 17, seed=2, dtype=torch.int32), channel=1),),
        bias=integers(-200, 200, 2, 19, seed=3, dtype=torch.int32),
        shift=1,
    )
    layer = replace(layer, shortcuts=(replace(layer.shortcuts[0], source="f"),))
    few = train[:, :, :17].contiguous()
    sources = {
        "s": source("s", train, largest, signed_source),
        "f": source("f", few, largest, signed_source),
    }
    return Case(layer, sources, {"s": train, "f": few})


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("bits", SUMS)
def test_steps_held_at_once(bits: int, steps: int) -> None:
    check_tile(layer_of(bits), Tile(64, 32, steps, 64, 4, 2))


@pytest.mark.parametrize("joined", [2, 4])
@pytest.mark.parametrize("bits", SUMS)
def test_steps_of_one_product(bits: int, joined: int) -> None:
    for steps, T in ((joined, 9), (8, 16), (16, 5)):
        check_tile(layer_of(bits, T), Tile(32, 32, steps, 64, 4, 2, joined))
    check_tile(layer_of(bits), Tile(32, 32, 8, 64, 4, 2, joined), "bf16")


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_without_spikes(steps: int, signed: bool) -> None:
    check_tile(layer_of(1, 11, signed), Tile(64, 32, steps, 64, 4, 2), spikes=False)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("T", [1, 5, 8, 12, 16, 20])
@pytest.mark.parametrize("steps", [2, 8, 16])
def test_steps_left_over(steps: int, T: int, signed: bool) -> None:
    check_tile(layer_of(1, T, signed), Tile(64, 32, steps, 128, 4, 2))


@pytest.mark.parametrize(("pixels", "channels"), [(16, 16), (16, 64), (128, 16), (32, 32)])
@pytest.mark.parametrize("chunk", [32, 64, 128])
def test_pixels_channels_and_chunk(pixels: int, channels: int, chunk: int) -> None:
    check_tile(layer_of(2, 9, True), Tile(pixels, channels, 8, chunk, 4, 2))


@pytest.mark.parametrize("steps", [2, 8])
def test_bfloat16_weights(steps: int) -> None:
    check_tile(layer_of(1), Tile(64, 32, steps, 64, 4, 2), "bf16")


def test_offsets_of_64_bits_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_launch, "NARROW_LIMIT", 0)
    case = layer_of(1, 17)
    check_tile(case, Tile(32, 16, 8, 64, 4, 2))
    shape = (3, *case.layer.shape)
    bias = integers(-200, 200, *shape, seed=4, dtype=torch.int32)
    v_init = integers(-200, 200, *case.layer.shape, seed=5, dtype=torch.int32)
    check_tile(
        replace(case, layer=replace(case.layer, bias=bias, v_init=v_init)),
        Tile(32, 16, 4, 64, 4, 2),
    )


def test_channels_of_a_tile_read_16_at_a_time() -> None:
    # 48 input channels and chunks of 32: a chunk lies in one tap or in two.
    train = spikes_of((9, 1, 48, 3, 3), 1, False, seed=0)
    weight = integers(-127, 127, 16, 48, 3, 3, seed=1, dtype=torch.int8)
    layer: IntegerLayer = plain_layer(weight, (3, 3), theta=1500)
    case = Case(layer, {"s": source("s", train, 1, False)}, {"s": train})
    for chunk in (32, 64):
        check_tile(case, Tile(16, 16, 8, chunk, 4, 2))


@pytest.mark.gpu
def test_a_layer_as_large_as_they_come() -> None:
    assert DEVICE == "cuda", "a GPU is here, but TRITON_INTERPRET=1 is set"
    train = spikes_of((16, 3, 512, 14, 14), 1, True, seed=0)
    weight = integers(-127, 127, 512, 512, 3, 3, seed=1, dtype=torch.int8)
    case = Case(
        plain_layer(weight, (14, 14), theta=9000, signed=True),
        {"s": source("s", train, 1, True)},
        {"s": train},
    )
    for tile in (
        Tile(128, 32, 4, 128, 8, 3),
        Tile(64, 64, 4, 128, 8, 3),
        Tile(16, 32, 16, 64, 4, 3),
        Tile(64, 32, 8, 128, 4, 4, joined=2),
        Tile(64, 32, 8, 64, 4, 4, joined=4),
        Tile(128, 32, 8, 64, 8, 3, joined=4),
        Tile(64, 32, 4, 64, 4, 4, joined=4),
    ):
        for multiply in ("int8", "bf16"):
            check_tile(case, tile, multiply)
