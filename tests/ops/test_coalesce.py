"""The merged dimensions walk the same elements in the same order as the dimensions given."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spikeconv.ops.call import Call, allocate
from spikeconv.ops.layout import coalesce, layout_of
from tests.ops.cases import LAYOUTS, SHAPE, counts, currents, thresholds


def walk(sizes: list[int], strides: list[int]) -> list[int]:
    """Offsets of all elements, last dimension fastest."""
    indices = itertools.product(*(range(size) for size in sizes))
    return [sum(i * s for i, s in zip(index, strides, strict=True)) for index in indices]


@st.composite
def operands(draw: st.DrawFn) -> tuple[list[int], list[list[int]]]:
    """Sizes and, per operand, strides: dense, dense but for some broadcast dimensions, or any."""
    sizes = draw(st.lists(st.integers(1, 4), max_size=5))
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        row, step = [0] * len(sizes), 1
        for dim in reversed(range(len(sizes))):
            kind = draw(st.sampled_from(("dense", "dense", "broadcast", "any")))
            if kind == "dense":
                row[dim] = step
                step *= sizes[dim]
            elif kind == "any":
                row[dim] = draw(st.integers(0, 30))
        rows.append(row)
    return sizes, rows


@given(operands())
def test_the_walk_is_the_same(given_operands: tuple[list[int], list[list[int]]]) -> None:
    sizes, rows = given_operands
    merged_sizes, merged = coalesce(sizes, rows)
    assert len(merged) == len(rows)
    for before, after in zip(rows, merged, strict=True):
        assert len(after) == len(merged_sizes)
        assert walk(merged_sizes, after) == walk(sizes, before)


@given(operands())
def test_nothing_is_left_to_merge(given_operands: tuple[list[int], list[list[int]]]) -> None:
    sizes, merged = coalesce(*given_operands)
    assert sizes
    assert sizes == [1] or 1 not in sizes
    for dim in range(len(sizes) - 1):
        assert any(row[dim] != row[dim + 1] * sizes[dim + 1] for row in merged)


@given(operands())
def test_merging_again_changes_nothing(
    given_operands: tuple[list[int], list[list[int]]],
) -> None:
    sizes, merged = coalesce(*given_operands)
    assert coalesce(sizes, merged) == (sizes, merged)


def _call(
    x: Tensor,
    *,
    static: bool = False,
    v_threshold: Tensor | None = None,
    v_init: Tensor | None = None,
    bias: Tensor | None = None,
    count_init: Tensor | None = None,
) -> Call:
    emitted, v = allocate(x, 3, static=static, signed=True, emit="spikes", return_v="last")
    return Call(
        x=x,
        v_threshold=torch.ones(()) if v_threshold is None else v_threshold,
        v_init=torch.zeros(()) if v_init is None else v_init,
        bias=bias,
        count_init=count_init,
        T=3,
        static=static,
        hard=False,
        tie_fires=True,
        v_reset=0.0,
        signed=True,
        emit="spikes",
        return_v="last",
        emitted=emitted,
        v=v,
    )


def _read(tensor: Tensor, sizes: list[int], strides: list[int]) -> list[float]:
    values: list[float] = tensor.as_strided(sizes, strides).flatten().tolist()
    return values


@pytest.mark.parametrize("static", [False, True], ids=["timed", "static"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_operand_is_read_in_the_order_of_the_outputs(layout: str, static: bool) -> None:
    x = LAYOUTS[layout](currents(*SHAPE))
    current = x[0]
    parameters = {
        "v_threshold": LAYOUTS[layout](thresholds(5, 1, 1)),
        "v_init": LAYOUTS[layout](currents(2, 1, 3, 7)),
        "bias": LAYOUTS[layout](currents(7)),
        "count_init": counts(2, 5, 3, 7),
    }
    call = _call(current if static else x, static=static, **parameters)
    at = layout_of(call)
    # Where neuron n lies in the outputs' memory: its place in the tensor of all neurons' numbers.
    numbers = torch.empty_like(call.emitted[0]).copy_(torch.arange(210).view(2, 5, 3, 7))
    order = numbers.as_strided((210,), (1,)).int().tolist()
    strides = {
        "v_threshold": at.threshold_strides,
        "v_init": at.v_init_strides,
        "bias": at.bias_strides,
        "count_init": at.count_strides,
    }
    for name, tensor in parameters.items():
        wanted = tensor.expand(current.shape).flatten()[order].tolist()
        assert _read(tensor, at.sizes, strides[name]) == wanted
    assert at.x_stride_t == (0 if static else x.stride(0))
    assert _read(current, at.sizes, at.x_strides) == current.flatten()[order].tolist()


@pytest.mark.parametrize("static", [False, True], ids=["timed", "static"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_time_of_a_bias_is_one_stride_whatever_is_merged(layout: str, static: bool) -> None:
    x = currents(*SHAPE)
    for shape in ((1, 1, 1, 1), (1, 5, 1, 1), (2, 5, 3, 7)):
        bias = LAYOUTS[layout](currents(3, *shape))
        at = layout_of(_call(x[0] if static else x, static=static, bias=bias))
        without = layout_of(_call(x[0] if static else x, static=static, bias=bias[0]))
        assert (at.sizes, at.bias_strides) == (without.sizes, without.bias_strides)
        for t in range(3):
            step = bias.as_strided(
                at.sizes, at.bias_strides, bias.storage_offset() + t * at.bias_stride_t
            )
            assert step.flatten().tolist() == bias[t].expand(SHAPE[1:]).flatten().tolist()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dense_input_with_numbers_is_one_dimension(memory_format: torch.memory_format) -> None:
    x = currents(3 * 2, 5, 3, 7).contiguous(memory_format=memory_format).view(SHAPE)
    at = layout_of(_call(x))
    assert (at.sizes, at.x_strides, at.threshold_strides, at.bias_strides) == ([210], [1], [0], [])


def test_one_value_per_channel_costs_what_it_needs() -> None:
    theta = thresholds(5, 1, 1)
    x = currents(3 * 2, 5, 3, 7).view(SHAPE)
    at = layout_of(_call(x, v_threshold=theta))
    assert (at.sizes, at.threshold_strides) == ([2, 5, 21], [0, 1, 0])
    x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(SHAPE)
    at = layout_of(_call(x, v_threshold=theta))
    assert (at.sizes, at.threshold_strides) == ([42, 5], [0, 1])
