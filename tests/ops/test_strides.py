"""Every backend reads its operands where they lie: any strides, any broadcast, never a copy."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.helpers import runnable
from tests.ops.cases import DTYPES, LAYOUTS, SHAPE, check, counts, currents, thresholds

# Shapes that broadcast to [B, C, H, W] = [2, 5, 3, 7].
PARAMETER_SHAPES = [
    (),
    (1,),
    (7,),
    (3, 1),
    (5, 1, 1),
    (1, 5, 1, 1),
    (2, 1, 1, 1),
    (5, 1, 7),
    (2, 1, 3, 1),
    (5, 3, 7),
    (2, 5, 3, 7),
]


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_input_of_every_layout(layout: str, dtype: torch.dtype, backend: str) -> None:
    x = LAYOUTS[layout](currents(*SHAPE, dtype=dtype))
    theta = thresholds(5, 1, 1)
    check(x, backend, v_threshold=theta, emit="spikes", return_v="all")
    check(x, backend, v_threshold=theta, emit="words", return_v=None)
    static = LAYOUTS[layout](currents(*SHAPE[1:], dtype=dtype))
    check(static, backend, v_threshold=theta, T=3, emit="uint8", return_v="last")


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("rank", range(6))
def test_input_of_every_rank(rank: int, backend: str) -> None:
    shape = (2, 3, 1, 2, 3, 2)[:rank]
    for layout in LAYOUTS.values():
        x = layout(currents(4, *shape))
        check(x, backend, v_threshold=0.75, return_v="all")
        check(x.select(0, 0), backend, v_threshold=0.75, T=3, emit="count")


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("shape", PARAMETER_SHAPES, ids=str)
def test_parameters_of_every_shape(shape: tuple[int, ...], backend: str) -> None:
    for x_layout, layout in itertools.product(("contiguous", "channels_last"), LAYOUTS.values()):
        check(
            LAYOUTS[x_layout](currents(*SHAPE)),
            backend,
            v_threshold=layout(thresholds(*shape)),
            v_init=layout(currents(*shape, seed=5) / 2),
            bias=layout(currents(*shape, seed=6) / 8),
            return_v="all",
        )


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("shape", [shape for shape in PARAMETER_SHAPES if len(shape) < 4], ids=str)
def test_a_bias_with_time_of_every_shape(shape: tuple[int, ...], backend: str) -> None:
    timed = (SHAPE[0], *[1] * (4 - len(shape)), *shape)
    for x_layout, layout in itertools.product(("contiguous", "channels_last"), LAYOUTS.values()):
        x = LAYOUTS[x_layout](currents(*SHAPE))
        bias = layout(currents(*timed, seed=6) / 8)
        check(x, backend, v_threshold=thresholds(5, 1, 1), bias=bias, return_v="all")
        check(x[0], backend, v_threshold=0.75, bias=bias, T=SHAPE[0], emit="count")


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("T", [1, 7, 8, 9, 33])
def test_a_bias_with_time_over_many_steps(T: int, backend: str) -> None:
    x = currents(T, 3, 5, 41)
    for shape in ((1, 1, 1), (1, 5, 1), (3, 5, 41)):
        bias = currents(T, *shape, seed=6) / 8
        check(x, backend, v_threshold=0.75, bias=bias, return_v="all")
        check(x, backend, v_threshold=0.75, bias=bias[:1].expand_as(bias), emit="count")


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_parameter_of_its_own_shape_and_layout(layout: str, backend: str) -> None:
    shapes: list[tuple[int, ...]] = [(5, 1, 1), (2, 1, 3, 7), (1, 7), (2, 5, 3, 7)]
    for turn in range(4):
        t_shape, v_shape, b_shape, c_shape = shapes[turn:] + shapes[:turn]
        check(
            LAYOUTS["first_innermost"](currents(*SHAPE)),
            backend,
            v_threshold=LAYOUTS[layout](thresholds(*t_shape)),
            v_init=currents(*v_shape, seed=5),
            bias=LAYOUTS[layout](currents(*b_shape, seed=6) / 8),
            count_init=counts(*c_shape),
            signed=True,
            return_v="all",
        )


@pytest.mark.parametrize("backend", runnable())
def test_expanded_input(backend: str) -> None:
    base = currents(*SHAPE)
    for dims in ((0,), (1,), (2,), (3, 4), (0, 1, 2), (0, 1, 2, 3, 4)):
        starts = tuple(slice(0, 1) if d in dims else slice(None) for d in range(5))
        x = base[starts].expand(SHAPE)
        check(x, backend, v_threshold=thresholds(5, 1, 1), return_v="all")
        check(x[0], backend, v_threshold=thresholds(5, 1, 1), T=3, emit="words")


@pytest.mark.parametrize("backend", runnable())
def test_expanded_parameters(backend: str) -> None:
    theta = thresholds(5, 1, 1).expand(2, 5, 3, 7)
    v_init = currents(7, seed=5).expand(3, 7)
    check(currents(*SHAPE), backend, v_threshold=theta, v_init=v_init, bias=v_init / 8)


@pytest.mark.parametrize("backend", runnable())
def test_windows_that_overlap(backend: str) -> None:
    signal = currents(40)
    check(signal.as_strided((4, 5, 6), (1, 2, 3), 2), backend, v_threshold=0.75, return_v="all")
    check(signal.unfold(0, 8, 3).t(), backend, v_threshold=0.75, return_v="all")
    theta = thresholds(40).as_strided((5, 6), (2, 1), 1)
    check(currents(4, 5, 6), backend, v_threshold=theta, v_init=theta / 2)


@pytest.mark.parametrize("backend", runnable())
def test_input_that_starts_at_every_offset(backend: str) -> None:
    for dtype in DTYPES:
        buffer = currents(600, dtype=dtype)
        for offset in range(9):
            x = buffer[offset : offset + 4 * 131].view(4, 131)
            check(x, backend, v_threshold=0.75, emit="uint8")


@pytest.mark.parametrize("backend", runnable())
def test_parameters_of_other_float_dtypes(backend: str) -> None:
    # Each is converted to the membrane's dtype first: theta = 0.1 in float16 is not 0.1.
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        check(
            currents(*SHAPE),
            backend,
            v_threshold=(thresholds(5, 1, 1) / 3).to(dtype),
            v_init=torch.tensor(0.1, dtype=dtype),
            bias=(currents(3, 1, seed=6) / 8).to(dtype),
            emit="psp",
        )


@pytest.mark.parametrize("backend", runnable())
def test_lazily_negated_input(backend: str) -> None:
    x = torch.view_as_complex(currents(3, 4, 2)).conj().imag
    assert x.is_neg()
    check(x, backend, v_threshold=0.75, v_init=x[0], return_v="all")
