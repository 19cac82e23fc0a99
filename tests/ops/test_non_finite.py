"""NaN and infinity: what they do is defined, and the same in every backend."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from spikeconv import if_multistep
from tests.helpers import assert_same, expected, runnable

# Triton's interpreter computes with numpy, which warns of what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")

INF, NAN = math.inf, math.nan

# One neuron: currents, options, spikes, potentials after each step.
CASES: dict[str, tuple[list[float], dict[str, Any], list[int], list[float]]] = {
    "nan_never_fires_again": ([1.0, NAN, 9.0], {}, [1, 0, 0], [0.0, NAN, NAN]),
    "nan_hard": ([NAN, 9.0], {"reset": "hard"}, [0, 0], [NAN, NAN]),
    "nan_signed": ([1.0, NAN, -9.0], {"signed": True}, [1, 0, 0], [0.0, NAN, NAN]),
    "nan_bias": ([9.0, 9.0], {"bias": torch.tensor(NAN)}, [0, 0], [NAN, NAN]),
    "nan_start": ([9.0, 9.0], {"v_init": torch.tensor(NAN)}, [0, 0], [NAN, NAN]),
    "inf_fires_at_every_step": ([INF, 0.0, -9.0], {}, [1, 1, 1], [INF, INF, INF]),
    "inf_start": ([-9.0, 0.0], {"v_init": torch.tensor(INF)}, [1, 1], [INF, INF]),
    "inf_hard_is_reset": ([INF, 0.5], {"reset": "hard"}, [1, 0], [0.0, 0.5]),
    "minus_inf_never_fires": ([-INF, 9.0], {}, [0, 0], [-INF, -INF]),
    "minus_inf_signed_until_the_count_is_0": (
        [2.0, 0.0, -INF, 9.0, 9.0],
        {"signed": True},
        [1, 1, -1, -1, 0],
        [1.0, 0.0, -INF, -INF, -INF],
    ),
    "minus_inf_signed_hard": (
        [1.0, -INF, -0.5],
        {"signed": True, "reset": "hard"},
        [1, -1, 0],
        [0.0, 0.0, -0.5],
    ),
    "inf_and_minus_inf": ([INF, -INF, 9.0], {}, [1, 0, 0], [INF, NAN, NAN]),
    "the_largest_numbers": ([3e38, 3e38, 0.0], {"v_threshold": 3e38}, [1, 1, 0], [0.0] * 3),
    "overflow_of_the_sum": (
        [3e38, 0.0],
        {"v_threshold": 1.0, "v_init": 3e38},
        [1, 1],
        [INF, INF],
    ),
}


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("name", CASES)
def test_one_neuron(name: str, backend: str) -> None:
    currents, options, spikes, potentials = CASES[name]
    x = torch.tensor(currents).unsqueeze(1)
    emitted, trace = if_multistep(x, **options, return_v="all", backend=backend)
    assert emitted.flatten().tolist() == spikes
    assert_same(trace, torch.tensor(potentials).unsqueeze(1))


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("emit", ["spikes", "psp", "uint8", "words", "count"])
def test_every_form_of_output(emit: str, dtype: torch.dtype, backend: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 41, generator=generator)
    special = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1e-40, 3e38])
    pick = torch.randint(0, 28, x.shape, generator=generator)
    x = torch.where(pick < len(special), special[pick.clamp(max=6)], x).to(dtype)
    for reset in ("soft", "hard"):
        for signed in (False, True) if emit != "words" else (False,):
            arguments: dict[str, Any] = {"reset": reset, "signed": signed, "v_threshold": 0.75}
            for return_v in ("last", "all"):
                arguments |= {"emit": emit, "return_v": return_v}
                got = if_multistep(x, **arguments, backend=backend)
                for name, a, b in zip(("emitted", "v"), got, expected(x, **arguments), strict=True):
                    assert_same(a, b, f"{name} with {arguments}")


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize(
    ("dtype", "theta", "amplitude"),
    [
        (torch.float16, 65519.0, 65504.0),
        (torch.float16, 65520.0, INF),
        (torch.float16, 2.0**-25, 0.0),
        (torch.float16, 1.5 * 2.0**-25, 2.0**-24),
        (torch.bfloat16, 3.4e38, INF),
        (torch.bfloat16, 1e6, 999424.0),
    ],
)
def test_an_amplitude_at_the_ends_of_the_dtype_of_x(
    dtype: torch.dtype, theta: float, amplitude: float, backend: str
) -> None:
    x = torch.zeros(2, 1, dtype=dtype)
    psp, v = if_multistep(x, theta, v_init=theta, emit="psp", backend=backend)
    assert psp.flatten().tolist() == [amplitude, 0.0]
    assert v is not None
    assert v.item() == 0.0


@pytest.mark.parametrize("backend", runnable())
def test_subnormal_numbers_count(backend: str) -> None:
    tiny = 2.0**-149
    x = torch.full((3, 1), tiny)
    spikes, v = if_multistep(x, 2 * tiny, backend=backend)
    assert spikes.flatten().tolist() == [0, 1, 0]
    assert v is not None
    assert v.item() == tiny
