"""The kernel equals an obvious loop bit for bit: every option, size and special value."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from spikeconv.kernels import if_multistep
from tests.kernels.if_case import (
    EMITS,
    Case,
    assert_same_bits,
    check,
    counts,
    currents,
    potentials,
    run,
    thresholds,
)

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
EMITTED = [(emit, False) for emit in EMITS] + [(emit, True) for emit in EMITS if emit != "words"]
NAN, INF = math.nan, math.inf

# numpy, under Triton's interpreter, warns where the GPU does not.
interpreter_warns = pytest.mark.filterwarnings("ignore:(invalid|overflow):RuntimeWarning:triton")


def tensor(*values: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


@pytest.mark.parametrize("return_v", ["none", "last", "all"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize(
    ("emit", "signed"),
    [
        (emit, signed)
        for emit in EMITS
        for signed in (False, True)
        if (emit, signed) != ("words", True)
    ],
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_option(
    dtype: torch.dtype, emit: str, signed: bool, reset: str, return_v: str
) -> None:
    plain = Case(
        currents(5, 7, dtype=dtype),
        thresholds(7),
        potentials(7),
        hard=reset == "hard",
        v_reset=0.1,
        signed=signed,
        emit=emit,
        return_v=return_v,
    )
    check(plain)
    check(replace(plain, tie_fires=False))
    check(replace(plain, count_init=counts(7)))
    check(replace(plain, bias=potentials(7, seed=4)))
    check(replace(plain, bias=potentials(7, seed=4), count_init=counts(7)))
    check(replace(plain, bias=potentials(5, 7, seed=4), count_init=counts(7)))


@pytest.mark.parametrize("N", [1, 7, 1003, 4099])
@pytest.mark.parametrize("T", [1, 2, 7, 32])
def test_sizes(T: int, N: int) -> None:
    case = Case(currents(T, N, dtype=torch.bfloat16), thresholds(N), potentials(N), emit="words")
    check(case)
    if T * N < 10_000:
        check(replace(case, emit="spikes", return_v="all"))


def test_more_steps_than_a_word_has_bits() -> None:
    case = Case(currents(33, 1003), thresholds(1003), potentials(1003), emit="count")
    check(case)
    check(replace(case, emit="uint8", return_v="all", signed=True))


@pytest.mark.parametrize("T", [1, 23, 24, 25, 31, 32])
@pytest.mark.parametrize("exact", [{}, if_multistep.EXACT_STEPS], ids=["integers", "floats"])
def test_words_and_counts_of_neurons_that_fire_at_every_step(
    T: int, exact: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(if_multistep, "EXACT_STEPS", exact)
    case = Case(torch.ones(T, 5), tensor(1.0), tensor(0.0), emit="words")
    words = run(case)[0]
    assert words.dtype == torch.int32
    assert (words.long() & 0xFFFFFFFF).tolist() == [2**T - 1] * 5
    assert run(replace(case, emit="count"))[0].tolist() == [T] * 5
    check(replace(case, x=currents(T, 1003), theta=thresholds(1003), v_init=potentials(1003)))


@pytest.mark.parametrize("emit", EMITS)
def test_no_neurons_write_nothing(emit: str) -> None:
    case = Case(torch.zeros(4, 0), torch.ones(1), torch.zeros(1), emit=emit, return_v="all")
    emitted, v = run(case)
    assert v is not None
    assert emitted.numel() == v.numel() == 0


def test_single_neuron_by_hand() -> None:
    # m: 0.75, 1.0 (a tie fires), 2.5 (one spike a step, the rest stays), 1.25, -0.25
    case = Case(
        tensor(0.25, 0.25, 2.5, -0.25, -0.5).unsqueeze(1), tensor(1.0), tensor(0.5), return_v="all"
    )
    emitted, v = run(case)
    assert v is not None
    assert emitted.tolist() == [0, 1, 1, 1, 0]
    assert v.tolist() == [0.75, 0.0, 1.5, 0.25, -0.25]
    assert run(replace(case, emit="words"))[0].tolist() == [0b01110]
    assert run(replace(case, emit="count"))[0].tolist() == [3]


def test_ties_that_do_not_fire_by_hand() -> None:
    # m: 1.0 (a tie waits), 1.0, 1.5 fires, 1.0 (again a tie)
    x = tensor(1.0, 0.0, 0.5, 0.5).unsqueeze(1)
    case = Case(x, tensor(1.0), tensor(0.0), tie_fires=False, return_v="all")
    emitted, v = run(case)
    assert v is not None
    assert emitted.tolist() == [0, 0, 1, 0]
    assert v.tolist() == [1.0, 1.0, 0.5, 1.0]


def test_negative_spikes_take_back_earlier_ones_by_hand() -> None:
    # m: 1.0 fires, -0.5 takes it back, -0.25 has nothing to take back, 0.75 waits, 1.0 fires
    x = tensor(1.0, -0.5, -0.75, 1.0, 0.25).unsqueeze(1)
    case = Case(x, tensor(1.0), tensor(0.0), signed=True, emit="uint8", return_v="all")
    emitted, v = run(case)
    assert v is not None
    assert emitted.tolist() == [1, -1, 0, 0, 1]
    assert v.tolist() == [0.0, 0.5, -0.25, 0.75, 0.0]
    # With a spike in stock from an earlier call the third step fires too.
    emitted, _ = run(replace(case, count_init=torch.tensor([1], dtype=torch.int32)))
    assert emitted.tolist() == [1, -1, -1, 1, 1]
    assert run(replace(case, emit="count"))[0].tolist() == [1]


def test_order_of_additions() -> None:
    # (v + x) + b reaches the threshold; neither v + (x + b) nor one fused rounding does.
    tiny = 2.0**-24
    case = Case(tensor(1.0).unsqueeze(0), tensor(1.0), tensor(tiny), bias=tensor(tiny))
    emitted, v = run(case)
    assert v is not None
    assert emitted.tolist() == [1.0]
    assert v.tolist() == [0.0]
    check(case)


def test_a_bias_of_each_step_by_hand() -> None:
    # m: 0.5, 1.0 (a tie fires), 1.5 fires, 0.25
    case = Case(
        tensor(0.25, 0.25, 1.0, 0.5).unsqueeze(1),
        tensor(1.0),
        tensor(0.0),
        bias=tensor(0.25, 0.25, 0.5, -0.75).unsqueeze(1),
        return_v="all",
    )
    emitted, v = run(case)
    assert v is not None
    assert emitted.tolist() == [0, 1, 1, 0]
    assert v.tolist() == [0.5, 0.0, 0.5, 0.25]


@interpreter_warns
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_infinity(dtype: torch.dtype, reset: str, signed: bool) -> None:
    x = torch.tensor(
        [[0.5, NAN, INF, -INF, INF], [NAN, 1.0, 0.0, INF, -INF], [1.0, INF, -1.0, 1.0, 1.0]]
    ).to(dtype)
    case = Case(
        x,
        tensor(1.0),
        tensor(0.5),
        count_init=torch.tensor(2, dtype=torch.int32),
        hard=reset == "hard",
        signed=signed,
        return_v="all",
    )
    check(case)
    check(replace(case, emit="psp"))


def test_nan_never_fires_and_infinity_always_does() -> None:
    x = tensor(NAN, INF, -INF).expand(3, 3).contiguous()
    emitted, v = run(Case(x, tensor(1.0), tensor(0.0)))
    assert v is not None
    assert emitted.view(3, 3).tolist() == [[0, 1, 0]] * 3
    assert v[0].isnan()
    assert v[1:].tolist() == [INF, -INF]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_subnormal_and_negative_zero(dtype: torch.dtype) -> None:
    smallest = torch.finfo(dtype).smallest_normal
    x = tensor(0.0, -0.0, smallest / 4, -smallest / 4, smallest / 2, dtype=dtype).expand(3, 5)
    case = Case(x, tensor(smallest), tensor(-0.0), return_v="all")
    check(case)
    check(replace(case, v_init=tensor(0.0), bias=tensor(-0.0)))


@interpreter_warns
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_psp_is_the_threshold_rounded_to_nearest_even(dtype: torch.dtype) -> None:
    step = torch.finfo(dtype).eps
    largest = torch.finfo(dtype).max
    theta = torch.cat(
        (
            tensor(1 + step / 2, 1 + 1.5 * step, 1 + 0.51 * step, 2 - step / 8, 0.1, 1 / 3),
            tensor(largest, largest * (1 + step / 8), 3e38, 3.4e38),
            tensor(1e-5, 1e-7, 3e-39, 2e-45),  # subnormal in one of the two
        )
    )
    x = torch.full((2, len(theta)), INF, dtype=dtype)
    x[1] = -INF
    case = Case(x, theta, tensor(0.0), hard=True, v_reset=-1.0, signed=True, emit="psp")
    emitted, _ = run(case)
    assert_same_bits(emitted, torch.cat((theta, -theta)).to(dtype), "psp")


@pytest.mark.parametrize("v_reset", [-0.75, 0.1, -0.0, 1e-42, INF, NAN])
def test_hard_reset_to_any_potential(v_reset: float) -> None:
    case = Case(currents(5, 9), thresholds(9), potentials(9), hard=True, v_reset=v_reset)
    check(replace(case, return_v="all"))


@pytest.mark.parametrize("emit", ["spikes", "words"])
def test_split_time_equals_whole_time(emit: str) -> None:
    bias = potentials(9, 50, seed=4)
    whole = Case(
        *(currents(9, 50), thresholds(50), potentials(50), bias),
        signed=emit != "words",
        emit=emit,
    )
    wanted, v_wanted = run(whole)
    first, v = run(replace(whole, x=whole.x[:4], bias=bias[:4]))
    assert v is not None and v_wanted is not None
    net_count = first.view(-1, 50).sum(0, dtype=torch.int32) if whole.signed else None
    second, v = run(replace(whole, x=whole.x[4:], bias=bias[4:], v_init=v, count_init=net_count))
    assert v is not None
    joined = first | second << 4 if emit == "words" else torch.cat((first, second))
    assert_same_bits(joined, wanted, emit)
    assert_same_bits(v, v_wanted, "v")


def test_charge_is_conserved() -> None:
    # In eighths every sum is exact: what came in left as spikes or is still there.
    x = (currents(16, 40) * 8).round() / 8
    theta = torch.full((40,), 0.625)
    spikes, v = run(Case(x, theta, theta / 2, bias=tensor(0.125)))
    assert v is not None
    came_in = (x + 0.125).sum(0)
    left = theta * spikes.view(16, 40).sum(0) + v - theta / 2
    assert torch.equal(came_in, left)
