"""A compiled integer program answers whatever it is asked, or says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeconv.ops.integer import new_program

FAR = 2**62
T, B, C, K, H, W = 3, 2, 5, 7, 4, 6


def integers(*shape: int, dtype: torch.dtype = torch.int32, value: int = 1) -> Tensor:
    return torch.full(shape, value, dtype=dtype)


def source(**changes: Any) -> list[Any]:
    arguments = {"shape": [C, H, W], "largest": 1, "signed": False, "halo": [1, 1, 1, 1]}
    return list({**arguments, **changes}.values())


def layer(**changes: Any) -> list[Any]:
    """Source 0 by 3 x 3 weights, and source 1 as a shortcut, give source 1's shape."""
    arguments = {
        "shape": [K, H, W],
        "out": 1,
        "shift": 0,
        "theta": integers(K),
        "v_init": integers(K),
        "bias": integers(2, K),
        "signed": False,
        "weights": [integers(K, C, 3, 3, dtype=torch.int8)],
        "windows": [0, 1, 1, 1, 1, 1, 1, 1],
        "coefficients": [integers(K)],
        "places": [2, 1, 1, 0],
    }
    return list({**arguments, **changes}.values())


def program() -> Any:
    """Sources 0 (read), 1 (the layer's) and 2 (read), and 3 (a pool's)."""
    made = new_program()
    made.add_source(*source())
    made.add_source(*source(shape=[K, H, W]))
    made.add_source(*source(shape=[K, H, W]))
    made.add_source(*source(shape=[K, H // 2, W // 2], largest=4))
    return made


def complete() -> Any:
    """With a layer, a pool over it, and chain 0 of both, which wants the pool's plane."""
    made = program()
    made.add_layer(*layer())
    made.add_pool(1, 3, [2, 2, 2, 2, 0, 0])
    made.add_encoder(0, torch.ones(1, 1, 1, 1), torch.zeros(1, C, 1, 1), None)
    made.add_chain([0, 1], [0, 0], [3], [0])
    return made


def call(made: Any, **changes: Any) -> list[Any]:
    arguments = {
        "chain": 0,
        "planes": [made.new_plane(number, B, T) for number in (0, 2, 3)],
        "currents": [],
        "images": B,
        "steps": T,
        "done": 0,
        "v": [],
        "net": [],
        "want_state": False,
    }
    return list({**arguments, **changes}.values())


def test_the_good_calls_run() -> None:
    made = complete()
    assert made.given(0) == [0, 2]
    counts, v, net = made.run_chain(*call(made))
    assert [count.shape for count in counts] == [(B, H, W, K)]
    assert (v, net) == ([], [])


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
    ("weights must be int8 or int16", {"weights": [torch.ones(K, C, 3, 3)]}),
    ("weights must be int8 or int16", {"weights": [integers(K, C, 9, dtype=BYTES)]}),
    ("weights must be [7, 5 / groups", {"weights": [integers(K, C + 1, 3, 3, dtype=BYTES)]}),
    ("weights must be [7, 5 / groups", {"weights": [integers(K + 1, C, 3, 3, dtype=BYTES)]}),
    ("weights must be [7, 5 / groups", {"windows": [0, 1, 1, 1, 1, 1, 1, 5]}),
    ("a kernel's height must be from 1", {"weights": [integers(K, C, 0, 3, dtype=BYTES)]}),
    ("at most 32639", {"weights": [integers(K, C, 3, 3, dtype=torch.int16, value=32640)]}),
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


Change = Callable[[Any], dict[str, Any]]
CALLS: list[tuple[str, Change]] = [
    ("there is no chain 1", lambda made: {"chain": 1}),
    ("there is no chain -1", lambda made: {"chain": -1}),
    ("planes must be 3, got 2", lambda made: {"planes": call(made)[1][:2]}),
    ("must have", lambda made: {"planes": call(made)[1][::-1]}),
    ("must have", lambda made: {"images": B + 1}),
    ("must have", lambda made: {"steps": T + 1}),
    ("images must be from 0", lambda made: {"images": -1}),
    ("images must be from 0", lambda made: {"images": FAR}),
    ("steps must be from 1", lambda made: {"steps": 0}),
    ("steps must be from 1", lambda made: {"steps": FAR}),
    ("done must be from 0", lambda made: {"done": -1}),
    ("done must be from 0", lambda made: {"done": FAR}),
    ("must be a dense uint8", lambda made: {"planes": [p.float() for p in call(made)[1]]}),
    ("must be a dense uint8", lambda made: {"planes": [p.to("meta") for p in call(made)[1]]}),
    (
        "must be a dense uint8",
        lambda made: {"planes": [p.repeat_interleave(2)[::2] for p in call(made)[1]]},
    ),
    ("currents must have 0 tensors", lambda made: {"currents": [torch.zeros(1)]}),
    ("v must be dense", lambda made: {"v": [integers(B, H, W, K + 1)]}),
    ("v must be dense", lambda made: {"v": [torch.zeros(B, H, W, K)]}),
    ("v must have 1 tensors", lambda made: {"v": [integers(B, H, W, K), integers(1)]}),
    ("net must have 0 tensors", lambda made: {"net": [integers(B, H, W, K)]}),
]


@pytest.mark.parametrize(("message", "change"), CALLS, ids=[str(i) for i in range(len(CALLS))])
def test_runs(message: str, change: Change) -> None:
    made = complete()
    with pytest.raises(RuntimeError) as error:
        made.run_chain(*call(made, **change(made)))
    assert str(error.value).startswith("_IntegerProgram.run_chain: ")
    assert message in str(error.value)


def test_a_plane_that_is_written_is_no_other_one() -> None:
    made = program()
    made.add_layer(*layer())
    made.add_chain([0], [0], [1], [])
    read, jumped = made.new_plane(0, B, T), made.new_plane(2, B, T)
    with pytest.raises(RuntimeError, match="a plane that is written must be no other plane"):
        made.run_chain(*call(made, planes=[read, jumped, jumped]))


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("new_plane: there is no source 4", (4, B, T)),
        ("new_plane: images must be from 0", (0, -1, T)),
        ("new_plane: steps must be from 1", (0, B, 0)),
        ("new_plane: a plane of .* bytes is too large", (0, 2**20, 2**20)),
    ],
)
def test_new_planes(message: str, arguments: tuple[int, ...]) -> None:
    made = new_program()
    made.add_source(*source(shape=[2**10, 2**10, 2**10]))
    with pytest.raises(RuntimeError, match=rf"^_IntegerProgram\.{message}"):
        made.new_plane(*arguments)


@pytest.mark.parametrize(
    "train",
    [
        torch.zeros(T, B, C, H, W + 1),
        torch.zeros(T, B, C, H),
        torch.zeros(T + 1, B, C, H, W),
        torch.zeros(T, B, C, H, W, dtype=torch.float64),
        torch.zeros(T, B, C, H, W).to_sparse(),
        torch.zeros(T, B, C, H, W, device="meta"),
    ],
    ids=str,
)
def test_trains(train: Tensor) -> None:
    made = program()
    with pytest.raises(RuntimeError, match=r"^_IntegerProgram\.pack: "):
        made.pack(0, train, made.new_plane(0, B, T))


def test_an_instruction_set_that_nobody_has() -> None:
    with pytest.raises(RuntimeError, match=r"isa must be one of default.* got mmx"):
        new_program("mmx")
