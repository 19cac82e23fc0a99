"""Cases computed by hand: what the definition says, in numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from spikeconv import if_multistep
from tests.helpers import runnable

FLT_MAX = torch.finfo(torch.float32).max

# One neuron: currents, options, spikes, potentials after each step. All sums are exact in float32.
CASES: dict[str, tuple[list[float], dict[str, Any], list[int], list[float]]] = {
    "a_tie_fires": ([1.0], {}, [1], [0.0]),
    "just_below_does_not": ([1 - 2.0**-24], {}, [0], [1 - 2.0**-24]),
    "one_step": ([0.75], {}, [0], [0.75]),
    "two_thresholds_one_spike": ([2.0], {}, [1], [1.0]),
    "the_rest_fires_later": ([2.0, 0.0, 0.0], {}, [1, 1, 0], [1.0, 0.0, 0.0]),
    "negative_input": ([-1.0, 0.5, 0.5, 1.0], {}, [0, 0, 0, 1], [-1.0, -0.5, 0.0, 0.0]),
    "threshold": ([0.5, 0.25, 0.5], {"v_threshold": 0.75}, [0, 1, 0], [0.5, 0.0, 0.5]),
    "half_a_threshold_first": (
        [0.25, 0.25, 0.25, 0.25],
        {"v_init": 0.5},
        [0, 1, 0, 0],
        [0.75, 0.0, 0.25, 0.5],
    ),
    "starts_above": ([0.0, 0.0, 0.0], {"v_init": 2.5}, [1, 1, 0], [1.5, 0.5, 0.5]),
    "bias": ([0.5, 0.5, -0.5], {"bias": 0.25}, [0, 1, 0], [0.75, 0.5, 0.25]),
    "bias_of_each_step": (
        [0.5, 0.5, -0.5],
        {"bias": torch.tensor([[0.5], [-0.25], [1.0]])},
        [1, 0, 0],
        [0.0, 0.25, 0.75],
    ),
    "bias_of_each_step_hard_and_signed": (
        [0.5, 0.5, -0.5],
        {"bias": torch.tensor([[0.5], [-0.75], [1.0]]), "reset": "hard", "signed": True},
        [1, -1, 0],
        [0.0, 0.0, 0.5],
    ),
    "bias_of_one_step_is_every_steps": (
        [0.5, 0.5, -0.5],
        {"bias": torch.tensor([[0.25]])},
        [0, 1, 0],
        [0.75, 0.5, 0.25],
    ),
    # 2^24 + 1 rounds to 2^24, then - 1; both other orders of addition end at 2^24.
    "current_before_bias": (
        [1.0],
        {"v_threshold": 2.0**25, "v_init": 2.0**24, "bias": -1.0},
        [0],
        [16777215.0],
    ),
    "hard_reset": ([1.5, 0.5, 0.5], {"reset": "hard"}, [1, 0, 1], [0.0, 0.5, 0.0]),
    "hard_reset_to_v_reset": (
        [1.5, 0.5, 0.75],
        {"reset": "hard", "v_reset": 0.25},
        [1, 0, 1],
        [0.25, 0.75, 0.25],
    ),
    "v_reset_is_for_hard": ([1.5], {"reset": "soft", "v_reset": 0.25}, [1], [0.5]),
    "a_tie_does_not_fire": ([1.0], {"fires": "gt"}, [0], [1.0]),
    "just_above_does": ([1 + 2.0**-23], {"fires": "gt"}, [1], [2.0**-23]),
    "a_tie_waits": ([1.0, 0.0, 0.5, 0.5], {"fires": "gt"}, [0, 0, 1, 0], [1.0, 1.0, 0.5, 1.0]),
    "a_tie_does_not_wait": ([1.0, 0.0, 0.5, 0.5], {}, [1, 0, 0, 1], [0.0, 0.0, 0.5, 0.0]),
    "a_tie_waits_before_a_hard_reset": (
        [1.0, 0.0, 0.5, 0.5],
        {"fires": "gt", "reset": "hard"},
        [0, 0, 1, 0],
        [1.0, 1.0, 0.0, 0.5],
    ),
    "no_tie_with_the_largest_threshold": (
        [FLT_MAX, FLT_MAX],
        {"fires": "gt", "v_threshold": FLT_MAX},
        [0, 1],
        [FLT_MAX, math.inf],
    ),
    "no_tie_with_the_smallest_threshold": (
        [2.0**-149, 2.0**-149],
        {"fires": "gt", "v_threshold": 2.0**-149},
        [0, 1],
        [2.0**-149, 2.0**-149],
    ),
    "signed_whatever_ties_do": (
        [1.0, 0.5, -0.5, -0.0, -0.5, -0.5],
        {"fires": "gt", "signed": True},
        [0, 1, 0, 0, -1, 0],
        [1.0, 0.5, 0.0, 0.0, 0.5, 0.0],
    ),
    "signed": (
        [1.0, -0.5, -0.75, -1.0, 0.5],
        {"signed": True},
        [1, -1, 0, 0, 0],
        [0.0, 0.5, -0.25, -1.25, -0.75],
    ),
    "signed_pays_back_each_spike": (
        [2.0, 0.0, -1.0, -1.0, -1.0],
        {"signed": True},
        [1, 1, -1, -1, 0],
        [1.0, 0.0, 0.0, 0.0, -1.0],
    ),
    "signed_zero_is_not_negative": ([1.0, -0.0, 0.0], {"signed": True}, [1, 0, 0], [0.0] * 3),
    "signed_hard_reset": (
        [1.0, -0.5, 0.5],
        {"signed": True, "reset": "hard", "v_reset": -0.25},
        [1, -1, 0],
        [-0.25, -0.25, 0.25],
    ),
    "signed_count_handed_over": (
        [-1.0, -1.0],
        {"signed": True, "count_init": torch.tensor(1, dtype=torch.int32)},
        [-1, 0],
        [0.0, -1.0],
    ),
    "signed_count_owed": (
        [1.0, -0.5, 1.5, -0.5],
        {"signed": True, "count_init": torch.tensor(-1, dtype=torch.int32)},
        [1, 0, 1, -1],
        [0.0, -0.5, 0.0, 0.5],
    ),
}


# numpy, in interpreted Triton, warns of the sum that is infinite.
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("name", CASES)
def test_one_neuron(name: str, backend: str) -> None:
    currents, options, spikes, potentials = CASES[name]
    x = torch.tensor(currents).unsqueeze(1)
    emitted, trace = if_multistep(x, **options, return_v="all", backend=backend)
    assert emitted.flatten().tolist() == spikes
    assert trace is not None
    assert trace.flatten().tolist() == potentials
    count, last = if_multistep(x, **options, emit="count", backend=backend)
    assert count.tolist() == [sum(spikes)]
    assert last is not None
    assert last.tolist() == potentials[-1:]


@pytest.mark.parametrize("backend", runnable())
def test_a_threshold_for_every_channel(backend: str) -> None:
    x = torch.full((2, 1, 3, 1, 2), 1.0)
    theta = torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)
    spikes, v = if_multistep(x, theta, backend=backend)
    assert spikes[0].flatten().tolist() == [1, 1, 1, 1, 0, 0]
    assert spikes[1].flatten().tolist() == [1, 1, 1, 1, 1, 1]
    assert v is not None
    assert v.flatten().tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("backend", runnable())
def test_a_bias_for_every_step_and_channel(backend: str) -> None:
    x = torch.zeros(2, 1, 3, 1, 2)
    bias = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, -1.0]]).view(2, 1, 3, 1, 1)
    for current, T in ((x, None), (x[0], 2)):
        spikes, v = if_multistep(current, 1.0, bias=bias, T=T, backend=backend)
        assert spikes[0].flatten().tolist() == [1, 1, 0, 0, 0, 0]
        assert spikes[1].flatten().tolist() == [0, 0, 1, 1, 0, 0]
        assert v is not None
        assert v.flatten().tolist() == [0.0, 0.0, 0.0, 0.0, -1.0, -1.0]


@pytest.mark.parametrize("backend", runnable())
def test_a_single_neuron_with_a_bias_for_every_step(backend: str) -> None:
    for current, T in ((torch.zeros(3), None), (torch.tensor(0.0), 3)):
        bias = torch.tensor([0.5, 0.75, -0.5])
        spikes, v = if_multistep(current, 1.0, bias=bias, T=T, backend=backend)
        assert spikes.tolist() == [0.0, 1.0, 0.0]
        assert v is not None
        assert v.item() == -0.25


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize(
    ("steps", "fires_at", "word"),
    [
        (1, [0], 1),
        (3, [0, 2], 5),
        (32, [31], -(2**31)),
        (32, [0, 31], -(2**31) + 1),
        (32, range(32), -1),
        (32, [], 0),
        (31, range(31), 2**31 - 1),
    ],
)
def test_bit_t_of_a_word_is_step_t(
    steps: int, fires_at: list[int], word: int, backend: str
) -> None:
    x = torch.zeros(steps, 1)
    x[list(fires_at)] = 1.0
    words, _ = if_multistep(x, emit="words", backend=backend)
    assert words.dtype == torch.int32
    assert words.tolist() == [word]


@pytest.mark.parametrize("backend", runnable())
def test_every_form_of_output(backend: str) -> None:
    x = torch.tensor([[1.5], [0.5], [1.5]], dtype=torch.float16)
    wanted: dict[str, tuple[list[float], torch.dtype]] = {
        "spikes": ([1, 0, 1], torch.float16),
        "psp": ([1.5, 0, 1.5], torch.float16),
        "uint8": ([1, 0, 1], torch.uint8),
        "words": ([5], torch.int32),
        "count": ([2], torch.int32),
    }
    for emit, (values, dtype) in wanted.items():
        emitted, _ = if_multistep(x, 1.5, emit=emit, backend=backend)
        assert (emitted.flatten().tolist(), emitted.dtype) == (values, dtype), emit


@pytest.mark.parametrize("backend", runnable())
def test_every_form_of_a_signed_output(backend: str) -> None:
    x = torch.tensor([[1.5], [-0.5], [1.5]])
    wanted: dict[str, tuple[list[float], torch.dtype]] = {
        "spikes": ([1, -1, 1], torch.float32),
        "psp": ([1.5, -1.5, 1.5], torch.float32),
        "uint8": ([1, -1, 1], torch.int8),
        "count": ([1], torch.int32),
    }
    for emit, (values, dtype) in wanted.items():
        emitted, _ = if_multistep(x, 1.5, emit=emit, signed=True, backend=backend)
        assert (emitted.flatten().tolist(), emitted.dtype) == (values, dtype), emit


@pytest.mark.parametrize("backend", runnable())
def test_the_count_leaves_out_what_was_handed_over(backend: str) -> None:
    given = torch.tensor([3, 0], dtype=torch.int32)
    x = torch.tensor([[-1.0, -1.0]])
    count, _ = if_multistep(x, signed=True, count_init=given, emit="count", backend=backend)
    assert count.tolist() == [-1, 0]
    assert given.tolist() == [3, 0]


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize(
    ("theta", "amplitude"),
    [(1 + 2.0**-8, 1.0), (1 + 3 * 2.0**-8, 1 + 2.0**-6), (1 + 2.0**-8 + 2.0**-20, 1 + 2.0**-7)],
)
def test_psp_rounds_to_nearest_even_and_the_membrane_does_not(
    theta: float, amplitude: float, backend: str
) -> None:
    x = torch.full((2, 1), 2.0, dtype=torch.bfloat16)
    psp, v = if_multistep(x, theta, emit="psp", backend=backend)
    assert psp.flatten().tolist() == [amplitude, amplitude]
    assert v is not None
    assert v.item() == 4.0 - 2 * theta


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_membrane_is_float32_whatever_the_input_is(dtype: torch.dtype, backend: str) -> None:
    # In either dtype of 16 bits 2048 + 1 is 2048 and the threshold would never be reached.
    x = torch.tensor([[2048.0], [1.0]], dtype=dtype)
    spikes, v = if_multistep(x, 2049.0, backend=backend)
    assert spikes.flatten().tolist() == [0.0, 1.0]
    assert v is not None
    assert (v.dtype, v.item()) == (torch.float32, 0.0)


def test_float64_input_has_a_float64_membrane() -> None:
    x = torch.tensor([[1.0], [2.0**-40]], dtype=torch.float64)
    spikes, v = if_multistep(x, 1 + 2.0**-40)
    assert spikes.flatten().tolist() == [0.0, 1.0]
    assert v is not None
    assert (v.dtype, v.item()) == (torch.float64, 0.0)


@pytest.mark.parametrize("backend", runnable())
def test_static_input_is_the_same_current_at_every_step(backend: str) -> None:
    spikes, v = if_multistep(torch.tensor([0.5, -0.5]), T=3, backend=backend)
    assert spikes.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert v is not None
    assert v.tolist() == [0.5, -1.5]


@pytest.mark.parametrize("backend", runnable())
def test_a_single_neuron_without_dimensions(backend: str) -> None:
    spikes, v = if_multistep(torch.tensor([0.5, 0.75]), backend=backend)
    assert spikes.tolist() == [0.0, 1.0]
    assert v is not None
    assert (v.dim(), v.item()) == (0, 0.25)
    count, _ = if_multistep(torch.tensor(0.5), T=5, emit="count", backend=backend)
    assert (count.dim(), count.item()) == (0, 2)
