"""What a compiled integer program is made of is checked, and what is wrong with it is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from spikeconv.ops.integer import new_program
from tests.native.small_program import FAR, C, H, K, W, complete, integers, layer, program, source


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [C, H]},
        {"shape": [C, H, 0]},
        {"shape": [C, H, -W]},
        {"shape": [FAR, FAR, FAR]},
        {"shape": [2**20, 2**20, 2**20]},
        {"largest": 0},
        {"largest": 128},
        {"halo": [1, 1, 1]},
        {"halo": [1, 1, 1, -1]},
        {"halo": [FAR, 1, 1, 1]},
    ],
    ids=str,
)
def test_sources(changes: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match=r"^_IntegerProgram\.add_source: "):
        program().add_source(*source(**changes))


def test_only_a_shortcut_reads_what_is_the_same_at_every_step() -> None:
    made, ones = program(), torch.ones(1, 1, 1, 1)
    static = made.add_source(*source(shape=[K, H, W], static=True))
    with pytest.raises(RuntimeError, match="must be of the layer's shape"):
        made.add_layer(*layer(out=static))
    windows = [static, 1, 1, 1, 1, 1, 1, 1]
    with pytest.raises(RuntimeError, match="weights read source 4, which is static"):
        made.add_layer(*layer(windows=windows, weights=[integers(K, K, 3, 3, dtype=torch.int8)]))
    with pytest.raises(RuntimeError, match="only a shortcut reads a static source"):
        made.add_pool(static, 3, [2, 2, 2, 2, 0, 0])
    with pytest.raises(RuntimeError, match="source 4 must be a population"):
        made.add_encoder(static, ones, ones, None)
    train = integers(2, 1, K, H, W, dtype=torch.int8)
    with pytest.raises(RuntimeError, match="has a train of one step, got 2"):
        made.pack(static, train, made.new_plane(static, 1, 2))
    made.add_layer(*layer(places=[static, 1, 1, 0]))


def test_a_static_plane_holds_one_step() -> None:
    made = program()
    static = made.add_source(*source(shape=[K, H, W], static=True, largest=127, signed=True))
    plane = made.new_plane(static, 2, 9)
    assert plane.numel() == made.new_plane(static, 2, 1).numel()
    train = torch.randint(-127, 128, (1, 2, K, H, W), dtype=torch.int8)
    made.pack(static, train, plane)
    assert torch.equal(made.unpack(static, plane, 2, 9), train.expand(9, -1, -1, -1, -1))


BYTES = torch.int8
LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("shape must be", {"shape": [K, H]}),
    ("shape's entries must be from 1", {"shape": [K, H, 0]}),
    ("shape's entries must be from 1", {"shape": [FAR, H, W]}),
    ("a source must be from 0 to 3, got 4", {"out": 4}),
    ("a source must be from 0 to 3, got -2", {"out": -2}),
    ("source 0 must be of the layer's shape", {"out": 0}),
    ("source 1 must be of the layer's shape and sign", {"signed": True}),
    ("shift must be from 0 to 31", {"shift": -1}),
    ("shift must be from 0 to 31", {"shift": 32}),
    ("theta must be an int32", {"theta": torch.ones(K)}),
    ("theta must end in", {"theta": integers(K + 1)}),
    ("theta must be 1 or more", {"theta": integers(K, value=0)}),
    ("theta must be an int32 tensor on the CPU", {"theta": integers(K).to("meta")}),
    ("v_init must be an int32", {"v_init": integers(K, dtype=torch.int64)}),
    ("v_init must end in", {"v_init": integers(K, H)}),
    ("v_init must end in", {"v_init": integers(2, K)}),
    ("bias must end in", {"bias": integers(K)}),
    ("bias must have a row", {"bias": integers(0, K)}),
    ("windows must have 8 numbers", {"windows": [0, 1, 1]}),
    ("windows must have 8 numbers", {"weights": []}),
    ("places must have 4 numbers", {"places": []}),
    ("weights must be int8, int16 or int32", {"weights": [torch.ones(K, C, 3, 3)]}),
    ("weights must be int8, int16 or int32", {"weights": [integers(K, C, 9, dtype=BYTES)]}),
    ("weights must be [7, 5 / groups", {"weights": [integers(K, C + 1, 3, 3, dtype=BYTES)]}),
    ("weights must be [7, 5 / groups", {"weights": [integers(K + 1, C, 3, 3, dtype=BYTES)]}),
    ("weights must be [7, 5 / groups", {"windows": [0, 1, 1, 1, 1, 1, 1, 5]}),
    ("a kernel's height must be from 1", {"weights": [integers(K, C, 0, 3, dtype=BYTES)]}),
    ("to 32639", {"weights": [integers(K, C, 3, 3, dtype=torch.int16, value=32640)]}),
    ("to 8355711", {"weights": [integers(K, C, 3, 3, value=8355712)]}),
    ("from -8421504", {"weights": [integers(K, C, 3, 3, value=-8421505)]}),
    ("a source must be from 0 to 3, got 9", {"windows": [9, 1, 1, 1, 1, 1, 1, 1]}),
    ("stride must be from 1", {"windows": [0, 0, 1, 1, 1, 1, 1, 1]}),
    ("stride must be from 1", {"windows": [0, 1, FAR, 1, 1, 1, 1, 1]}),
    ("padding must be from 0", {"windows": [0, 1, 1, -1, 1, 1, 1, 1]}),
    ("dilation must be from 1", {"windows": [0, 1, 1, 1, 1, 0, 1, 1]}),
    ("groups must be from 1", {"windows": [0, 1, 1, 1, 1, 1, 1, 0]}),
    ("reads rows from -2", {"windows": [0, 1, 1, 2, 1, 1, 1, 1]}),
    ("reads columns from 0 to 7", {"windows": [0, 1, 1, 1, 0, 1, 1, 1]}),
    ("reads rows from -1 to 7", {"windows": [0, 2, 1, 1, 1, 1, 1, 1]}),
    ("reads columns from -1 to 8", {"windows": [0, 1, 1, 1, 1, 1, 2, 1]}),
    ("a coefficient must end in", {"coefficients": [integers(K + 1)]}),
    ("a coefficient must be an int32", {"coefficients": [torch.ones(K)]}),
    ("a shortcut's stride must be from 1", {"places": [2, 0, 1, 0]}),
    ("a shortcut's channels must be within 7", {"places": [2, 1, 1, 1]}),
    ("a shortcut's channels must be within 7", {"places": [2, 1, 1, -1]}),
    ("is too small for 4 x 6 neurons", {"places": [2, 2, 1, 0]}),
]


@pytest.mark.parametrize(("message", "changes"), LAYERS, ids=[str(i) for i in range(len(LAYERS))])
def test_layers(message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError) as error:
        program().add_layer(*layer(**changes))
    text = str(error.value)
    assert text.startswith("_IntegerProgram.add_layer: ")
    assert message in text


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("there is no source 7", (7, 3, [2, 2, 2, 2, 0, 0])),
        ("there is no source -1", (1, -1, [2, 2, 2, 2, 0, 0])),
        ("window must have 6 numbers", (1, 3, [2, 2])),
        ("kernel and stride must be 1 or more", (1, 3, [0, 2, 2, 2, 0, 0])),
        ("kernel and stride must be 1 or more", (1, 3, [2, 2, 2, FAR, 0, 0])),
        ("the pool reads rows from -2", (1, 3, [2, 2, 2, 2, 2, 0])),
        ("the pool reads columns from 0 to 9", (1, 3, [2, 2, 2, 4, 0, 0])),
        ("hold sums of 9 of its spikes", (1, 3, [3, 3, 2, 2, 1, 1])),
        ("must have the channels and sign of source 0", (0, 3, [2, 2, 2, 2, 0, 0])),
    ],
)
def test_pools(message: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(RuntimeError, match=rf"^_IntegerProgram\.add_pool: .*{message}"):
        program().add_pool(*arguments)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("there is no source 4", (4, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1), None)),
        ("must be a population", (3, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1), None)),
        ("theta must be float32", (0, integers(1, 1, 1, 1), torch.ones(1, 1, 1, 1), None)),
        ("theta must be float32", (0, torch.ones(1, 1, 1), torch.ones(1, 1, 1, 1), None)),
        ("theta must broadcast", (0, torch.ones(1, 4, 1, 1), torch.ones(1, 1, 1, 1), None)),
        ("must have one row", (0, torch.ones(2, 1, 1, 1), torch.ones(1, 1, 1, 1), None)),
        ("v_init must broadcast", (0, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 2, 1), None)),
        (
            "bias must be float32",
            (0, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.ones(0, 1, 1, 1)),
        ),
    ],
)
def test_encoders(message: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(RuntimeError, match=rf"^_IntegerProgram\.add_encoder: .*{message}"):
        program().add_encoder(*arguments)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("must be as many, and one or more", ([], [], [], [])),
        ("must be as many, and one or more", ([0], [], [], [])),
        ("kinds must be from 0 to 2", ([3], [0], [], [])),
        ("numbers must be from 0 to 0", ([0], [1], [], [])),
        ("numbers must be from 0 to 0", ([2], [-1], [], [])),
        ("there is no source 9", ([0], [0], [9], [])),
        ("source 2 is wanted, but no step writes it", ([0], [0], [2], [])),
        ("source 3 is wanted twice", ([0, 1], [0, 0], [3, 3], [])),
        ("source 1 is wanted twice", ([0, 1], [0, 0], [1, 3, 1], [])),
        ("counted must be from 0 to 0", ([0], [0], [], [1])),
        ("pools do not count", ([1], [0], [3], [0])),
        ("must be written once", ([0, 0], [0, 0], [], [])),
        ("must be written once", ([1, 0], [0, 0], [3], [])),
    ],
)
def test_chains(message: str, arguments: tuple[list[int], ...]) -> None:
    with pytest.raises(RuntimeError, match=rf"^_IntegerProgram\.add_chain: .*{message}"):
        complete().add_chain(*arguments)


def test_an_instruction_set_that_nobody_has() -> None:
    with pytest.raises(RuntimeError, match=r"isa must be one of default.* got mmx"):
        new_program("mmx")
