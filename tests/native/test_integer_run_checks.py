"""A compiled integer program runs whatever it is given, or says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeconv.ops.integer import new_program
from tests.native.small_program import (
    FAR,
    B,
    C,
    H,
    K,
    T,
    W,
    call,
    complete,
    integers,
    layer,
    program,
    source,
)


def test_the_good_calls_run() -> None:
    made = complete()
    assert made.given(0) == [0, 2]
    counts, v, net = made.run_chain(*call(made))
    assert [count.shape for count in counts] == [(B, H, W, K)]
    assert (v, net) == ([], [])


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
