"""Arguments of a wrong type raise and name the argument; numbers may be of any kind."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from spikeconv import if_multistep
from tests.helpers import assert_same
from tests.ops.cases import by_operator

# What the operator's schema does not let through, or cannot be said to it.
WRONG_TYPES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "x_list": ({"x": [[1.0]]}, TypeError, "x must be a tensor, got list"),
    "x_numpy": ({"x": np.ones((3, 4))}, TypeError, "x must be a tensor, got ndarray"),
    "x_none": ({"x": None}, TypeError, "x must be a tensor, got NoneType"),
    "T_float": ({"T": 4.0}, TypeError, "T must be an integer or None, got float"),
    "T_bool": ({"T": True}, TypeError, "T must be an integer or None, got bool"),
    "T_string": ({"T": "4"}, TypeError, "T must be an integer or None, got str"),
    "T_huge": ({"T": 2**70}, ValueError, "T must be an integer of 64 bits"),
    "threshold_string": ({"v_threshold": "1"}, TypeError, "v_threshold must be a number.*got str"),
    "threshold_none": ({"v_threshold": None}, TypeError, "v_threshold must be .*got NoneType"),
    "threshold_bool": ({"v_threshold": True}, TypeError, "v_threshold must be .*got bool"),
    "threshold_list": ({"v_threshold": [1.0]}, TypeError, "v_threshold must be .*got list"),
    "threshold_numpy": ({"v_threshold": np.ones(4)}, TypeError, "v_threshold must be .*ndarray"),
    "threshold_complex": ({"v_threshold": 1j}, TypeError, "v_threshold must be .*got complex"),
    "threshold_too_large": ({"v_threshold": 1e39}, ValueError, "v_threshold must be finite"),
    "threshold_huge": ({"v_threshold": 10**400}, ValueError, "v_threshold must be finite"),
    "init_nan": ({"v_init": math.nan}, ValueError, "v_init must be finite .*got nan"),
    "init_string": ({"v_init": "half"}, TypeError, "v_init must be a number.*got str"),
    "bias_inf": ({"bias": math.inf}, ValueError, "bias must be finite .*got inf"),
    "reset_none": ({"reset": None}, TypeError, "reset must be a string, got NoneType"),
    "fires_none": ({"fires": None}, TypeError, "fires must be a string, got NoneType"),
    "emit_none": ({"emit": None}, TypeError, "emit must be a string, got NoneType"),
    "return_v_bool": ({"return_v": True}, TypeError, "return_v must be a string or None, got bool"),
    "backend_module": ({"backend": torch}, TypeError, "backend must be a string or None, got mod"),
    "surrogate_string": ({"surrogate": "atan"}, TypeError, "surrogate must be one of .*got str"),
    "surrogate_module": (
        {"surrogate": torch.nn.Sigmoid()},
        TypeError,
        "surrogate must return a derivative, got a torch.nn.Module.*FromSpikeFunction",
    ),
    "detach_int": ({"detach_reset": 1}, TypeError, "detach_reset must be True or False, got 1"),
    "signed_int": ({"signed": 1}, TypeError, "signed must be True or False, got 1"),
    "v_reset_none": ({"v_reset": None}, TypeError, "v_reset must be a number, got NoneType"),
    "v_reset_bool": ({"v_reset": False}, TypeError, "v_reset must be a number, got bool"),
    "v_reset_huge": ({"v_reset": -(10**400)}, ValueError, "v_reset must be finite"),
    "count_number": (
        {"count_init": 3, "signed": True},
        TypeError,
        "count_init must be a tensor",
    ),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_wrong_type(name: str) -> None:
    arguments, error, message = WRONG_TYPES[name]
    with pytest.raises(error, match=f"if_multistep: .*{message}"):
        if_multistep(**{"x": torch.ones(3, 2, 4), **arguments})


@pytest.mark.parametrize(
    ("argument", "value"),
    [("T", "4"), ("T", 4.0), ("reset", 1), ("signed", "yes"), ("emit", None), ("v_reset", "0")],
)
def test_the_schema_names_an_argument_of_the_wrong_type(argument: str, value: object) -> None:
    with pytest.raises(RuntimeError, match=f"if_multistep.*'{argument}'"):
        by_operator(torch.ones(3, 4), **{argument: value})


def test_numbers_of_every_kind_are_welcome() -> None:
    x = torch.ones(3, 4)
    wanted = if_multistep(x, 0.5, 0.25)
    kinds: list[tuple[Any, Any]] = [
        (np.float32(0.5), np.float64(0.25)),
        (Fraction(1, 2), Fraction(1, 4)),
        (torch.tensor(0.5), torch.tensor(0.25, dtype=torch.float16)),
        (torch.nn.Parameter(torch.tensor([0.5])), torch.tensor([0.25])),
    ]
    for half, quarter in kinds:
        for a, b in zip(if_multistep(x, half, quarter), wanted, strict=True):
            assert_same(a, b)
    assert torch.equal(if_multistep(x, 1)[0], if_multistep(x, 1.0)[0])
