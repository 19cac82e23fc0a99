"""Wrong arguments raise and name the argument, from the function and from the operator alike."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from spikeconv import if_multistep
from tests.helpers import runnable
from tests.ops.cases import by_operator

OPERATOR = torch.ops.spikeconv.if_multistep

INT32 = torch.int32


# Given x [3, 2, 4] unless x is among the arguments: arguments, error, what the message must say.
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "x_integer": ({"x": torch.ones(3, 4, dtype=INT32)}, TypeError, "x must be a float32, .*int32"),
    "x_complex": ({"x": torch.ones(3, 4) * 1j}, TypeError, "x must be .*complex64"),
    "x_bool": ({"x": torch.ones(3, 4) > 0}, TypeError, "x must be .*torch.bool"),
    "x_sparse": ({"x": torch.ones(3, 4).to_sparse()}, TypeError, "x must be a dense .*sparse_coo"),
    "x_without_time": ({"x": torch.tensor(1.0)}, ValueError, r"x must be \[T, \*\], or \[\*\]"),
    "x_of_no_steps": ({"x": torch.ones(0, 4)}, ValueError, r"x must be .*T >= 1, got shape \[0, 4"),
    "T_zero": ({"T": 0}, ValueError, "T must be an integer >= 1, got 0"),
    "T_negative": ({"T": -3}, ValueError, "T must be an integer >= 1, got -3"),
    "T_too_long_for_words": (
        {"T": 33, "emit": "words"},
        ValueError,
        "T must be at most 32 with emit='words' .*got 33",
    ),
    "x_too_long_for_words": (
        {"x": torch.ones(33, 2), "emit": "words"},
        ValueError,
        "at most 32 with emit='words' .*got 33",
    ),
    "T_too_long_for_a_count": (
        {"T": 2**31, "emit": "count"},
        ValueError,
        "T must be at most 2147483647 with emit='count' .*got 2147483648",
    ),
    "threshold_zero": ({"v_threshold": 0.0}, ValueError, "v_threshold must be positive.*got 0.0"),
    "threshold_negative": ({"v_threshold": -1.5}, ValueError, "v_threshold must be.*got -1.5"),
    "threshold_nan": ({"v_threshold": math.nan}, ValueError, "v_threshold must be.*got nan"),
    "threshold_inf": ({"v_threshold": math.inf}, ValueError, "v_threshold must be.*got inf"),
    "threshold_one_of_many": (
        {"v_threshold": torch.tensor([1.0, 1.0, -2.0, 1.0])},
        ValueError,
        "v_threshold must be positive and finite everywhere, got -2.0",
    ),
    "threshold_vanishes_in_float32": (
        {"v_threshold": torch.tensor(1e-300, dtype=torch.float64)},
        ValueError,
        "v_threshold must be",
    ),
    "threshold_overflows_in_float32": (
        {"v_threshold": torch.tensor(1e300, dtype=torch.float64)},
        ValueError,
        "v_threshold must be",
    ),
    "threshold_integer": (
        {"v_threshold": torch.tensor([1, 2, 3, 4])},
        TypeError,
        "v_threshold must be a floating-point tensor, got torch.int64",
    ),
    "threshold_sparse": (
        {"v_threshold": torch.ones(4).to_sparse()},
        TypeError,
        "v_threshold must be a dense .*sparse_coo",
    ),
    "threshold_shape": (
        {"v_threshold": torch.ones(3)},
        ValueError,
        r"v_threshold must be .*broadcasts to the neurons' shape \[2, 4\], got shape \[3\]",
    ),
    "threshold_shape_of_x": (
        {"v_threshold": torch.ones(3, 2, 4)},
        ValueError,
        r"v_threshold must be .*\[2, 4\], got shape \[3, 2, 4\]",
    ),
    "threshold_too_many_dimensions": (
        {"v_threshold": torch.ones(1, 1, 4)},
        ValueError,
        r"v_threshold must be .*got shape \[1, 1, 4\]",
    ),
    "threshold_larger_than_x": (
        {"x": torch.ones(3, 1), "v_threshold": torch.ones(4)},
        ValueError,
        r"v_threshold must be .*shape \[1\], got shape \[4\]",
    ),
    "threshold_device": (
        {"v_threshold": torch.ones(4, device="meta")},
        ValueError,
        "v_threshold must be on x's device cpu, got meta",
    ),
    "init_shape": ({"v_init": torch.ones(2, 1, 4)}, ValueError, r"v_init must be .*\[2, 1, 4\]"),
    "init_integer": ({"v_init": torch.tensor([0])}, TypeError, "v_init must be .*int64"),
    "init_device": ({"v_init": torch.ones((), device="meta")}, ValueError, "v_init must be on x's"),
    "bias_shape": ({"bias": torch.ones(5, 1)}, ValueError, r"bias must be .*got shape \[5, 1\]"),
    "bias_of_other_steps": (
        {"bias": torch.ones(2, 1, 4)},
        ValueError,
        r"bias must be of 3 time-steps, or 1, in dimension 0 .*got shape \[2, 1, 4\]",
    ),
    "bias_of_other_steps_static": (
        {"x": torch.ones(2, 4), "T": 5, "bias": torch.ones(4, 1, 1)},
        ValueError,
        r"bias must be of 5 time-steps, or 1, .*got shape \[4, 1, 1\]",
    ),
    "bias_of_no_steps": (
        {"bias": torch.ones(0, 1, 4)},
        ValueError,
        r"bias must be of 3 time-steps, or 1, .*got shape \[0, 1, 4\]",
    ),
    "bias_of_steps_and_other_neurons": (
        {"bias": torch.ones(3, 2, 3)},
        ValueError,
        r"bias must be \[T, \*\] with \* broadcasting to .* \[2, 4\], got shape \[3, 2, 3\]",
    ),
    "bias_too_many_dimensions": (
        {"bias": torch.ones(3, 1, 1, 1)},
        ValueError,
        r"bias must be .*\[2, 4\].*got shape \[3, 1, 1, 1\]",
    ),
    "bias_of_steps_integer": (
        {"bias": torch.ones(3, 1, 1, dtype=INT32)},
        TypeError,
        "bias must be a floating-point tensor, got torch.int32",
    ),
    "bias_of_steps_device": (
        {"bias": torch.ones(3, 1, 1, device="meta")},
        ValueError,
        "bias must be on x's device cpu, got meta",
    ),
    "bias_of_steps_sparse": (
        {"bias": torch.ones(3, 1, 1).to_sparse()},
        TypeError,
        "bias must be a dense",
    ),
    "bias_bool": ({"bias": torch.tensor(True)}, TypeError, "bias must be .*torch.bool"),
    "bias_sparse": ({"bias": torch.ones(4).to_sparse()}, TypeError, "bias must be a dense"),
    "count_without_signed": (
        {"count_init": torch.ones(4, dtype=INT32)},
        ValueError,
        "count_init must be None unless signed=True",
    ),
    "count_float": (
        {"count_init": torch.ones(4), "signed": True},
        TypeError,
        "count_init must be an int32 tensor, got torch.float32",
    ),
    "count_int64": (
        {"count_init": torch.ones(4, dtype=torch.int64), "signed": True},
        TypeError,
        "count_init must be an int32 tensor, got torch.int64",
    ),
    "count_shape": (
        {"count_init": torch.ones(3, dtype=INT32), "signed": True},
        ValueError,
        r"count_init must be .*got shape \[3\]",
    ),
    "count_sparse": (
        {"count_init": torch.ones(4, dtype=INT32).to_sparse(), "signed": True},
        TypeError,
        "count_init must be a dense",
    ),
    "reset_unknown": (
        {"reset": "subtract"},
        ValueError,
        "reset must be one of 'soft', 'hard'",
    ),
    "fires_unknown": (
        {"fires": ">="},
        ValueError,
        "fires must be one of 'ge', 'gt', got '>='",
    ),
    "emit_unknown": ({"emit": "bits"}, ValueError, "emit must be one of 'spikes', .*got 'bits'"),
    "return_v_unknown": (
        {"return_v": "first"},
        ValueError,
        "return_v must be one .*'first'",
    ),
    "words_signed": (
        {"emit": "words", "signed": True},
        ValueError,
        "emit must be .* with signed=True, got 'words'",
    ),
    "v_reset_nan": ({"v_reset": math.nan}, ValueError, "v_reset must be finite .*got nan"),
    "v_reset_inf": ({"v_reset": -math.inf}, ValueError, "v_reset must be finite .*got -inf"),
    "v_reset_too_large": ({"v_reset": 1e39}, ValueError, "v_reset must be finite in torch.float32"),
    "backend_unknown": (
        {"backend": "opencl"},
        ValueError,
        "backend must be one of 'reference', .*'cuda' or None, got 'opencl'",
    ),
    "backend_empty": ({"backend": ""}, ValueError, "backend must be one of .*got ''"),
}


@pytest.mark.parametrize("call", [if_multistep, by_operator], ids=["function", "operator"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_argument(name: str, call: Any) -> None:
    arguments, error, message = WRONG[name]
    with pytest.raises(error, match=f"if_multistep: .*{message}"):
        call(**{"x": torch.ones(3, 2, 4), **arguments})


@pytest.mark.parametrize("backend", runnable())
def test_every_backend_is_behind_the_checks(backend: str) -> None:
    with pytest.raises(ValueError, match="v_threshold"):
        if_multistep(torch.ones(3, 4), torch.ones(5), backend=backend)
    with pytest.raises(ValueError, match="v_init"):
        OPERATOR(torch.ones(3, 4), torch.ones(()), torch.ones(2, 4), backend=backend)
    with pytest.raises(ValueError, match="v_threshold must be positive"):
        OPERATOR(torch.ones(3, 4), torch.zeros(()), torch.zeros(()), backend=backend)


def test_a_bad_threshold_among_many_is_found_whenever_it_comes() -> None:
    theta = torch.ones(4096)
    x = torch.ones(2, 64, 64)
    for _ in range(2):  # what was read once is not read again
        if_multistep(x, theta.view(64, 64))
    theta[70] = -1.0
    for bad in (theta.view(64, 64), theta.view(64, 64)[1:2]):
        with pytest.raises(ValueError, match=r"v_threshold must be positive.*got -1\.0"):
            if_multistep(x, bad)
    if_multistep(x, theta.view(64, 64)[:1])
    with pytest.raises(ValueError, match=r"v_threshold must be positive.*got -1\.0"):
        if_multistep(x, theta.view(64, 64))
    theta[70] = 1.0
    if_multistep(x, theta.view(64, 64))
