"""Where operands lie in memory changes nothing: broadcast, strided, permuted, static, far apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeconv.kernels import if_multistep
from tests.kernels.if_case import (
    Case,
    check,
    check_options,
    counts,
    currents,
    potentials,
    run,
    thresholds,
)

SHAPE = (3, 5, 7, 6)
CHANNELS_LAST = (0, 2, 3, 1)

# Shapes of parameters that broadcast to SHAPE, by what they vary along.
PARAMETERS = {
    "scalar": (),
    "per channel": (5, 1, 1),
    "per channel of one image": (1, 5, 1, 1),
    "per row": (7, 1),
    "per pixel": (7, 6),
    "per image and column": (3, 1, 1, 6),
    "per neuron": SHAPE,
}


@pytest.mark.parametrize("shape", PARAMETERS.values(), ids=PARAMETERS)
def test_parameters_are_read_in_place(shape: tuple[int, ...]) -> None:
    case = Case(currents(5, *SHAPE), thresholds(), potentials())
    check_options(replace(case, theta=thresholds(*shape)))
    check(
        replace(
            case,
            v_init=potentials(*shape),
            bias=potentials(*shape, seed=4),
            count_init=counts(*shape),
            signed=True,
            emit="count",
        )
    )


@pytest.mark.parametrize("shape", PARAMETERS.values(), ids=PARAMETERS)
@pytest.mark.parametrize("T", [1, 3, 5])
def test_a_bias_with_time_is_read_in_place(T: int, shape: tuple[int, ...]) -> None:
    full = (1,) * (len(SHAPE) - len(shape)) + shape
    case = Case(currents(T, *SHAPE), thresholds(5, 1, 1), potentials())
    for bias in (
        potentials(T, *full, seed=4),
        potentials(*full, T, seed=4).movedim(-1, 0),
        potentials(1, *full, seed=4).expand(T, *full),
    ):
        check(replace(case, bias=bias, return_v="all"))
    check(replace(case, x=case.x[0], T=T, bias=potentials(T, *full, seed=4), emit="count"))


def test_every_parameter_in_its_own_layout() -> None:
    check_options(
        Case(
            currents(5, *SHAPE, dtype=torch.bfloat16),
            thresholds(5, 1, 1),
            potentials(*SHAPE),
            bias=potentials(7, 6, seed=4),
            count_init=counts(3, 1, 1, 1),
            signed=True,
        )
    )


LAYOUTS = {
    "time innermost": currents(*SHAPE, 5).permute(4, 0, 1, 2, 3),
    "every other column": currents(5, 3, 5, 7, 12)[..., ::2],
    "cut out of a larger tensor": currents(6, 4, 6, 8, 9)[1:, 1:, :5, 1:, 2:8],
    "one image for all": currents(5, 1, 5, 7, 6).expand(5, *SHAPE),
    "one value a step": currents(5, 1, 1, 1, 1).expand(5, *SHAPE),
    "one step for all": currents(1, *SHAPE).expand(5, *SHAPE),
    "reversed dimensions": currents(6, 7, 5, 3, 5).permute(4, 3, 2, 1, 0),
    "overlapping windows": currents(400).as_strided((5, *SHAPE), (11, 40, 9, 2, 1)),
}


@pytest.mark.parametrize("x", LAYOUTS.values(), ids=LAYOUTS)
def test_strided_input(x: torch.Tensor) -> None:
    check_options(Case(x, thresholds(5, 1, 1), potentials(*SHAPE)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_outputs_in_channels_last_order(dtype: torch.dtype) -> None:
    x = currents(5, 3, 7, 6, 5, dtype=dtype).permute(0, 1, 4, 2, 3)
    case = Case(x, thresholds(5, 1, 1), potentials(*SHAPE), bias=potentials(5, 1, 1, seed=4))
    check_options(replace(case, order=CHANNELS_LAST))
    check_options(replace(case, x=x.contiguous(), order=CHANNELS_LAST))


@pytest.mark.parametrize("T", [1, 4, 7])
def test_static_input(T: int) -> None:
    case = Case(currents(*SHAPE), thresholds(5, 1, 1), potentials(*SHAPE), T=T)
    check_options(case)
    check_options(replace(case, x=currents(3, 5, 7, 12)[..., ::2], emit="words"))


@pytest.mark.parametrize("misalign", [1, 3])
def test_unaligned_tensors(misalign: int) -> None:
    x = currents(5 * 64 + misalign, dtype=torch.float16)[misalign:].view(5, 64)
    theta, v_init = thresholds(64 + misalign)[misalign:], potentials(64 + misalign)[misalign:]
    for emit in ("spikes", "uint8", "words"):
        check(Case(x, theta, v_init, emit=emit, return_v="all"), misalign)


def test_eight_dimensions_that_do_not_merge() -> None:
    x = currents(3, *[2] * 8).permute(0, *range(8, 0, -1))
    check_options(Case(x, thresholds(*[2, 1] * 4), potentials(*[1, 2] * 4)))


def test_more_dimensions_than_the_kernel_takes() -> None:
    case = Case(currents(2, *[2] * 9), thresholds(), potentials())
    with pytest.raises(ValueError, match=r"at most 8 neuron dimensions .* got sizes \[2, 2, 2,"):
        run(case)


def test_indices_beyond_32_bits_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(if_multistep, "NARROW_LIMIT", 0)
    check_options(Case(currents(5, *SHAPE), thresholds(5, 1, 1), potentials(7, 6)))


def test_strides_beyond_32_bits(tmp_path: Path) -> None:
    # 12 GB, of which the file system stores the few pages that are touched.
    far = 2**31 + 5
    storage = torch.from_file(
        str(tmp_path / "sparse"), shared=True, size=3 * far, dtype=torch.bfloat16
    )
    for strides in ((far, 1, 4), (12, far, 3)):
        x = storage.as_strided((2, 2, 3), strides)
        x.copy_(currents(2, 2, 3, seed=far))
        check(Case(x, thresholds(2, 1), potentials(3), return_v="all"))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any call of up to four neuron dimensions, x and parameters cut, permuted and broadcast."""
    shape = draw(st.lists(st.integers(1, 5), min_size=0, max_size=4))
    T = draw(st.integers(1, 6))
    seeds = st.integers(0, 2**31)
    dtype = draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))

    def strided(sizes: list[int], make: torch.Tensor) -> torch.Tensor:
        order = draw(st.permutations(range(len(sizes))))
        made = make.permute(tuple(order)) if sizes else make
        return made[tuple(slice(None, size) for size in sizes)]

    def larger(sizes: list[int]) -> list[int]:
        # Large enough in every dimension for any permutation to be cut to `sizes`.
        return [max(sizes, default=1) + draw(st.integers(0, 1)) for _ in sizes]

    def parameter(make, *lead: int) -> torch.Tensor:
        kept = len(shape) if lead else draw(st.integers(0, len(shape)))
        sizes = [size if draw(st.booleans()) else 1 for size in shape[len(shape) - kept :]]
        sizes = [*lead, *sizes]
        return strided(sizes, make(*larger(sizes), seed=draw(seeds)))

    signed = draw(st.booleans())
    static = draw(st.booleans())
    sizes = shape if static else [T, *shape]
    return Case(
        strided(sizes, currents(*larger(sizes), dtype=dtype, seed=draw(seeds))),
        parameter(thresholds),
        parameter(potentials),
        bias=draw(st.sampled_from([None, parameter(potentials), parameter(potentials, T)])),
        count_init=draw(st.sampled_from([None, parameter(counts)])),
        T=T if static else 0,
        hard=draw(st.booleans()),
        v_reset=draw(st.floats(-1, 1, width=32)),
        signed=signed,
        tie_fires=draw(st.booleans()),
        emit=draw(st.sampled_from(["spikes", "psp", "uint8", "count"] + ["words"] * (not signed))),
        return_v=draw(st.sampled_from(["none", "last", "all"])),
        order=draw(st.permutations(range(len(shape)))),
    )


@settings(max_examples=100, deadline=None)
@given(cases())
def test_any_layout(case: Case) -> None:
    check(case)
