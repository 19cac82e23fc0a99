"""Every backend gives the oracle's bits for every combination of options and sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from spikeconv import if_multistep
from tests.helpers import assert_same, runnable
from tests.ops.cases import DTYPES, EMITS, SHAPE, check, currents, option_grid, thresholds


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("emit", EMITS)
def test_every_option(emit: str, dtype: torch.dtype, backend: str) -> None:
    x = currents(*SHAPE, dtype=dtype)
    theta, v_init = thresholds(5, 1, 1), currents(2, 1, 3, 7, seed=4)
    for options in option_grid(emit):
        static = options["T"] is not None
        check(x[0] if static else x, backend, v_threshold=theta, v_init=v_init, **options)


def test_float64_on_the_reference() -> None:
    x = currents(*SHAPE, dtype=torch.float64)
    theta = thresholds(5, 1, 1).double() / 3
    for emit in EMITS:
        for options in option_grid(emit):
            if options["bias"] is not None:
                options["bias"] = options["bias"].double() / 3
            static = options["T"] is not None
            check(x[0] if static else x, "reference", v_threshold=theta, v_init=0.1, **options)


# From 0 over the edges of vectors and of Triton's programs to more than one chunk of work.
SIZES = (0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 511, 512, 513, 1003)


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_every_size(size: int, dtype: torch.dtype, backend: str) -> None:
    for T in (1, 5):
        x = currents(T, size, dtype=dtype, seed=T)
        for emit in ("spikes", "uint8", "count"):
            check(x, backend, v_threshold=0.75, emit=emit, return_v="all")
        check(x, backend, v_threshold=thresholds(size), emit="words", return_v="last")
        check(x, backend, v_threshold=thresholds(size), emit="psp", signed=True)


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("T", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100])
def test_every_number_of_steps(T: int, backend: str) -> None:
    x = currents(T, 9, seed=T)
    for emit in EMITS if T <= 32 else ("spikes", "psp", "uint8", "count"):
        check(x, backend, v_threshold=0.75, v_init=0.375, emit=emit, return_v="all")
        check(x[0], backend, v_threshold=0.75, v_init=0.375, emit=emit, T=T)


@pytest.mark.parametrize("backend", [name for name in runnable() if name != "reference"])
@pytest.mark.parametrize("emit", EMITS)
def test_many_neurons_on_every_thread(emit: str, backend: str) -> None:
    # On the CPU Triton interprets: a second for what the others do in a millisecond.
    x = currents(4, 3, 7, 203 if backend == "triton" else 11_003)
    arguments: dict[str, Any] = {"v_threshold": thresholds(7, 1), "v_init": 0.1, "emit": emit}
    for tensor, wanted in zip(
        if_multistep(x, **arguments, backend=backend),
        if_multistep(x, **arguments, backend="reference"),
        strict=True,
    ):
        assert_same(tensor, wanted)


@pytest.mark.parametrize("backend", runnable())
def test_two_calls_give_the_same_and_leave_their_arguments(backend: str) -> None:
    x, theta, v_init = currents(*SHAPE), thresholds(5, 1, 1), currents(2, 5, 3, 7)
    kept = [tensor.clone() for tensor in (x, theta, v_init)]
    first = if_multistep(x, theta, v_init, backend=backend)
    second = if_multistep(x, theta, v_init, backend=backend)
    for a, b in zip(first, second, strict=True):
        assert_same(a, b)
    for tensor, copy in zip((x, theta, v_init), kept, strict=True):
        assert_same(tensor, copy)
