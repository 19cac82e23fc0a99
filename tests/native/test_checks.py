"""Called directly with nonsense the operator raises and names the argument; it never crashes."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest
import torch

from tests.native.cases import Case, arguments

importlib.import_module("spikeconv._C")
cpp = torch.ops.spikeconv._if_multistep_cpp

T, C, W = 4, 3, 5
FAR = 2**62


def good(emit: str = "spikes", return_v: str = "last", **options: Any) -> dict[str, Any]:
    """A call that runs: x `[4, 3, 5]`, one threshold a channel."""
    theta = torch.ones(C, 1).expand(C, W)
    case = Case(torch.rand(T, C, W), theta, torch.zeros(C, W), **options)
    emitted, v = case.outputs(emit, return_v)
    return dict(arguments(case, emitted, v, emit, return_v))


def test_the_good_call_runs() -> None:
    call = good(bias=torch.ones(C, W), count_init=torch.zeros(C, W, dtype=torch.int32), signed=True)
    cpp(**call)
    assert not call["emitted"].isnan().any()


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("x must have dtype", {"x": torch.zeros(T, C, W, dtype=torch.float64)}),
    ("x must have dtype", {"x": torch.zeros(T, C, W, dtype=torch.int32)}),
    ("x must have dtype", {"x": torch.zeros(T, C, W, dtype=torch.bool)}),
    ("v_threshold must have dtype", {"v_threshold": torch.ones(C, W, dtype=torch.float64)}),
    ("v_threshold must have dtype", {"v_threshold": torch.ones(C, W, dtype=torch.float16)}),
    ("v_init must have dtype", {"v_init": torch.ones(C, W, dtype=torch.int32)}),
    ("bias must have dtype", {"bias": torch.ones(C, W).half(), "bias_strides": [W, 1]}),
    ("count_init must have dtype", {"count_init": torch.ones(C, W), "count_strides": [W, 1]}),
    ("emitted must have dtype", {"emitted": torch.empty(T, C, W, dtype=torch.float16)}),
    ("emitted must have dtype", {"emitted": torch.empty(T, C, W, dtype=torch.uint8)}),
    ("v must have dtype", {"v": torch.empty(C, W, dtype=torch.float64)}),
    ("T must be at least 1", {"T": 0}),
    ("T must be at least 1", {"T": -1}),
    ("T must be at least 1", {"T": -FAR}),
    ("T times the neurons must fit", {"T": FAR}),
    ("emit must be", {"emit": "bits"}),
    ("emit must be", {"emit": ""}),
    ("return_v must be", {"return_v": "first"}),
    ("return_v must be", {"return_v": ""}),
    ("v must be None", {"return_v": "none"}),
    ("v must be a tensor", {"v": None}),
    ("v must have 60 elements", {"return_v": "all"}),
    ("v must have 15 elements", {"v": torch.empty(C, W - 1)}),
    ("v must be dense", {"v": torch.empty(C, 2 * W)[:, ::2]}),
    ("v must be dense", {"v": torch.empty(1).expand(C, W)}),
    ("emitted must have 60 elements", {"emitted": torch.empty(T, C, W - 1)}),
    ("emitted must have 60 elements", {"emitted": torch.empty(0)}),
    ("emitted must be dense", {"emitted": torch.empty(T, C, 2 * W)[..., 1::2]}),
    ("emitted must be dense", {"emitted": torch.empty(1).expand(T, C, W)}),
    ("sizes must have at least one entry", {"sizes": []}),
    ("sizes must not be negative", {"sizes": [C, -W]}),
    ("product of sizes must fit", {"sizes": [FAR, FAR]}),
    ("emitted must have", {"sizes": [0, W]}),
    ("x_strides must have 2 entries", {"x_strides": [1]}),
    ("x_strides must have 2 entries", {"x_strides": []}),
    ("threshold_strides must have 2 entries", {"threshold_strides": [1, 0, 0]}),
    ("v_init_strides must have 2 entries", {"v_init_strides": [1]}),
    ("bias_strides must have 2 entries", {"bias": torch.ones(C, W), "bias_strides": []}),
    ("bias_strides must be", {"bias_strides": [0, 0]}),
    ("bias_stride_t must be 0 without bias", {"bias_stride_t": 1}),
    ("count_strides must be", {"count_strides": [0, 0]}),
    ("x_strides must stay inside", {"x_strides": [W, 2]}),
    ("x_strides must stay inside", {"x_strides": [-1, 1]}),
    ("x_strides must stay inside", {"x_strides": [FAR, FAR]}),
    ("x_strides must stay inside", {"x_strides": [-FAR, -FAR]}),
    ("x_strides must stay inside", {"x_stride_t": C * W + 1}),
    ("x_strides must stay inside", {"x_stride_t": -1}),
    ("x_strides must stay inside", {"x_stride_t": FAR}),
    ("x_strides must stay inside", {"T": T + 1}),
    ("x_strides must stay inside", {"sizes": [C, W + 1]}),
    ("x_strides must stay inside", {"x": torch.empty(0)}),
    ("threshold_strides must stay inside", {"threshold_strides": [1, 1]}),
    ("threshold_strides must stay inside", {"threshold_strides": [-1, 0]}),
    ("v_init_strides must stay inside", {"v_init": torch.zeros(C * W)[1:]}),
    ("bias_strides must stay inside", {"bias": torch.ones(1), "bias_strides": [0, 1]}),
    *(
        (
            "bias_strides must stay inside",
            {"bias": torch.ones(T, 1), "bias_strides": [0, 0], "bias_stride_t": stride},
        )
        for stride in (2, -1, FAR)
    ),
]


@pytest.mark.parametrize(("message", "change"), WRONG, ids=[f"{i}" for i in range(len(WRONG))])
def test_nonsense_is_an_error(message: str, change: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match=f"^_if_multistep_cpp: .*{re.escape(message)}"):
        cpp(**{**good(), **change})


def test_words_hold_32_steps_of_neurons_that_are_not_signed() -> None:
    call = good("words")
    call.update(x=torch.zeros(33, C, W), T=33)
    with pytest.raises(RuntimeError, match="T must be at most 32 with emit=words, got 33"):
        cpp(**call)
    with pytest.raises(RuntimeError, match="emit=words is not for signed neurons"):
        cpp(**good("words", signed=True))


@pytest.mark.parametrize("name", ["x", "v_threshold", "v_init", "bias"])
@pytest.mark.parametrize("output", ["emitted", "v"])
def test_outputs_share_no_memory_with_inputs(output: str, name: str) -> None:
    call = good(return_v="all", bias=torch.ones(C, W))
    shared = torch.zeros(T, C, W)
    call.update({name: shared, output: shared})
    message = f"{output} must not share memory with another tensor, got that of {name}"
    with pytest.raises(RuntimeError, match=message):
        cpp(**call)


def test_outputs_share_no_memory_with_the_net_count() -> None:
    shared = torch.zeros(C, W, dtype=torch.int32)
    call = good("count", count_init=torch.zeros_like(shared), signed=True)
    with pytest.raises(RuntimeError, match=r"emitted must not share memory .* got that of count_i"):
        cpp(**{**call, "count_init": shared, "emitted": shared})


def test_outputs_share_no_memory_with_each_other() -> None:
    shared = torch.zeros(T + 1, C, W)
    with pytest.raises(RuntimeError, match=r"emitted must not share memory .* got that of v"):
        cpp(**{**good(), "emitted": shared[:T], "v": shared[T]})


@pytest.mark.parametrize("name", ["x", "v_threshold", "v_init", "emitted", "v"])
def test_tensors_of_another_kind(name: str) -> None:
    call = good()
    for other in (call[name].to_sparse(), call[name].to("meta")):
        with pytest.raises(RuntimeError):
            cpp(**{**call, name: other})


def test_operators_on_torchs_own_checks() -> None:
    call = good(bias=torch.ones(C, W), count_init=torch.zeros(C, W, dtype=torch.int32), signed=True)
    torch.library.opcheck(cpp.default, (), call)
