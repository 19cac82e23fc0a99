"""How a launch is laid out, without launching."""

from __future__ import annotations

import doctest
import sys
from importlib import import_module

import pytest
import triton.language as tl

from spikeconv.kernels import if_multistep, launch
from spikeconv.kernels.launch import FLAT, launch_shape, varying_dims


def test_examples() -> None:
    assert doctest.testmod(launch).attempted > 0
    assert doctest.testmod(launch).failed == 0


@pytest.mark.parametrize(
    ("sizes", "strides", "dims"),
    [
        ([5], [1], FLAT),
        ([5], [0], 0),
        ([5], [2], 0b1),
        ([1], [0], FLAT),
        ([2, 1, 3], [3, 99, 1], FLAT),
        ([2, 3, 4], [0, 0, 0], 0),
        ([2, 3, 4], [0, 4, 1], 0b110),
        ([2, 3, 4], [1, 2, 6], 0b111),
        ([2, 1, 4], [0, 7, 1], 0b100),
    ],
)
def test_varying_dims(sizes: list[int], strides: list[int], dims: int) -> None:
    assert varying_dims(sizes, strides) == dims


@pytest.mark.parametrize("bytes_per_value", [1, 2, 4])
def test_a_thread_moves_one_vector_a_step(bytes_per_value: int) -> None:
    shape = launch_shape(bytes_per_value)
    assert shape.block * bytes_per_value == 16 * 32 * shape.num_warps


def test_an_older_triton_is_refused_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, if_multistep.__name__)
    monkeypatch.delattr(tl, "tuple")
    monkeypatch.setattr("triton.__version__", "3.2.0")
    with pytest.raises(ImportError, match=r"needs triton 3\.3 or newer, got 3\.2\.0"):
        import_module(if_multistep.__name__)
