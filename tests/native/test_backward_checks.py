"""Called directly with nonsense the backward operator raises and names the argument."""

from __future__ import annotations

import importlib
import re
from itertools import combinations
from typing import Any

import pytest
import torch

importlib.import_module("spikeconv._C")
cpp = torch.ops.spikeconv._if_backward_cpp

T, C, W = 4, 3, 5
FAR = 2**62


def good(**changes: Any) -> dict[str, Any]:
    """A call that runs: x `[4, 3, 5]`, one threshold a channel, every gradient wanted."""
    call = {
        "x": torch.rand(T, C, W),
        "v_threshold": torch.ones(C, 1),
        "v_init": torch.zeros(()),
        "bias": torch.zeros(T, 1, 1),
        "grad_emitted": torch.rand(T, C, W),
        "grad_v": torch.rand(C, W),
        "slope": None,
        "grad_x": torch.empty(T, C, W),
        "grad_m": torch.empty(T, C, W),
        "grad_sum": torch.empty(C, W),
        "grad_threshold": torch.empty(C, W),
        "grad_v_init": torch.empty(C, W),
        "T": T,
        "sizes": [C, W],
        "x_stride_t": C * W,
        "x_strides": [W, 1],
        "threshold_strides": [1, 0],
        "v_init_strides": [0, 0],
        "bias_stride_t": 1,
        "bias_strides": [0, 0],
        "hard": False,
        "v_reset": 0.0,
        "tie_fires": True,
        "psp": False,
        "trace": False,
        "detach_reset": False,
        "surrogate": "atan",
        "a": 1.0,
        "b": 1.0,
    }
    return {**call, **changes}


READ = ("grad_emitted", "grad_v", "slope")
WRITTEN = ("grad_x", "grad_m", "grad_sum", "grad_threshold", "grad_v_init")


def test_the_good_call_runs() -> None:
    call = good()
    for name in WRITTEN:
        call[name].fill_(torch.nan)
    cpp(**call)
    assert all(call[name].isfinite().all() for name in WRITTEN)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("x must have dtype", {"x": torch.rand(T, C, W, dtype=torch.float64)}),
    ("v_threshold must have dtype", {"v_threshold": torch.ones(C, 1).half()}),
    ("v_init must have dtype", {"v_init": torch.zeros((), dtype=torch.int32)}),
    ("bias must have dtype", {"bias": torch.zeros(T, 1, 1).double()}),
    ("bias_strides must be []", {"bias": None}),
    ("bias_stride_t must be 0 without bias", {"bias": None, "bias_strides": []}),
    ("grad_emitted must have dtype", {"grad_emitted": torch.rand(T, C, W).half()}),
    ("grad_x must have dtype", {"grad_x": torch.empty(T, C, W).half()}),
    ("grad_m must have dtype", {"grad_m": torch.empty(T, C, W).half()}),
    ("grad_v must have dtype", {"grad_v": torch.empty(C, W).double()}),
    ("grad_v must have 60 elements", {"trace": True}),
    ("grad_v must have 15 elements", {"grad_v": torch.rand(T, C, W)}),
    *((f"{name} must have", {name: torch.empty(0)}) for name in (*READ[:2], *WRITTEN)),
    *(
        (f"{name} must be dense", {name: torch.empty(T, C, 2 * W)[..., ::2]})
        for name in ("grad_emitted", "grad_x", "grad_m")
    ),
    *(
        (f"{name} must be dense", {name: torch.empty(1).expand(C, W)})
        for name in ("grad_v", *WRITTEN[2:])
    ),
    ("slope must be a tensor with surrogate=given", {"surrogate": "given"}),
    ("slope must be a tensor with surrogate=given", {"slope": torch.ones(T, C, W)}),
    ("slope must have 60 elements", {"surrogate": "given", "slope": torch.ones(C, W)}),
    ("surrogate must be sigmoid, atan", {"surrogate": "tanh"}),
    ("T must be from 1 to", {"T": 0}),
    ("T must be from 1 to", {"T": -FAR}),
    ("T must be from 1 to", {"T": FAR}),
    ("T must be from 1 to", {"T": 2**48}),
    ("sizes must have at least one entry", {"sizes": []}),
    ("sizes must not be negative", {"sizes": [C, -W]}),
    ("product of sizes must fit", {"sizes": [FAR, FAR]}),
    ("T times the neurons must fit", {"sizes": [2**30, 2**31], "T": 2**40}),
    ("x_strides must have 2 entries", {"x_strides": [1]}),
    ("x_strides must stay inside", {"x_stride_t": C * W + 1}),
    ("x_strides must stay inside", {"x_strides": [-1, 1]}),
    ("x_strides must stay inside", {"sizes": [C, W + 1]}),
    ("threshold_strides must stay inside", {"threshold_strides": [1, 1]}),
    ("v_init_strides must stay inside", {"v_init_strides": [1, 0]}),
    ("bias_strides must stay inside", {"bias_stride_t": 2}),
]


@pytest.mark.parametrize(("message", "change"), WRONG, ids=[f"{i}" for i in range(len(WRONG))])
def test_nonsense_is_an_error(message: str, change: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match=f"^_if_backward_cpp: .*{re.escape(message)}"):
        cpp(**good(**change))


@pytest.mark.parametrize("written", ["grad_x", "grad_m"])
@pytest.mark.parametrize(
    "name", ["x", "v_threshold", "v_init", "bias", "grad_emitted", "grad_v", "slope"]
)
def test_gradients_share_no_memory_with_what_is_read(name: str, written: str) -> None:
    shared = torch.rand(T, C, W)
    call = good(slope=torch.rand(T, C, W), surrogate="given", trace=True)
    call.update({"grad_v": torch.rand(T, C, W), name: shared, written: shared})
    message = f"{written} must not share memory with another tensor, got that of {name}"
    with pytest.raises(RuntimeError, match=message):
        cpp(**call)


@pytest.mark.parametrize(("first", "second"), [*combinations(WRITTEN, 2)])
def test_gradients_share_no_memory_with_each_other(first: str, second: str) -> None:
    room = torch.empty(2 * T, C, W)
    sizes = {"grad_x": T, "grad_m": T}
    call = good()
    call[first] = room[: sizes.get(first, 1)].squeeze(0)
    call[second] = room[T : T + sizes.get(second, 1)].squeeze(0)  # beside it, yet in its memory
    message = f"{first} must not share memory with another tensor, got that of {second}"
    with pytest.raises(RuntimeError, match=message):
        cpp(**call)


@pytest.mark.parametrize(("first", "second"), [WRITTEN[:2], *combinations(WRITTEN[2:], 2)])
def test_no_tensor_is_two_gradients(first: str, second: str) -> None:
    call = good()
    message = f"{first} must not share memory with another tensor, got that of {second}"
    with pytest.raises(RuntimeError, match=message):
        cpp(**{**call, second: call[first]})


@pytest.mark.parametrize("name", ["x", "v_threshold", "grad_emitted", "grad_x"])
def test_tensors_of_another_kind(name: str) -> None:
    call = good()
    for other in (call[name].to_sparse(), call[name].to("meta")):
        with pytest.raises(RuntimeError):
            cpp(**{**call, name: other})


def test_no_neurons_and_nothing_wanted() -> None:
    nothing = dict.fromkeys((*READ, *WRITTEN))
    cpp(**good(**nothing))
    cpp(**good(**nothing, sizes=[0, W]))


def test_operators_on_torchs_own_checks() -> None:
    torch.library.opcheck(cpp.default, (), good())
