"""A small compiled integer program, and arguments for its calls, any of which can be changed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeconv.ops.integer import new_program

FAR = 2**62
T, B, C, K, H, W = 3, 2, 5, 7, 4, 6


def integers(*shape: int, dtype: torch.dtype = torch.int32, value: int = 1) -> Tensor:
    return torch.full(shape, value, dtype=dtype)


def source(**changes: Any) -> list[Any]:
    arguments: dict[str, Any] = {"shape": [C, H, W], "largest": 1, "signed": False}
    arguments |= {"halo": [1, 1, 1, 1], "static": False}
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
