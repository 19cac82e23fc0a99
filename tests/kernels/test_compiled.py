"""What the compiler makes of the kernel, for GPUs that need not be here: compile_variants.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from spikeconv.kernels.launch import STEPS_IN_FLIGHT

ROOT = Path(__file__).parents[2]
DTYPES = ["float32", "float16", "bfloat16"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything compiled anew, in a process that sees no GPU and no interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    environment["CUDA_VISIBLE_DEVICES"] = ""
    answer = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_variants"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def variants(built: dict[str, Any]) -> dict[str, Any]:
    return built["variants"]


def widths(variant: dict[str, Any], kind: str) -> list[int]:
    """Bytes of each global load ("ld") or store ("st"), in the order of the code."""
    return [bytes_ for access, bytes_ in variant["accesses"] if access == kind]


def test_nothing_spills(variants: dict[str, Any]) -> None:
    assert variants
    spilling = {name: v for name, v in variants.items() if v["STACK"] or v["LOCAL"]}
    assert not spilling, list(spilling)


def test_registers_leave_room_for_many_programs(variants: dict[str, Any]) -> None:
    # 64 registers: 1024 threads a multiprocessor, each with 64 bytes of input on its way.
    used = {name: v["REG"] for name, v in variants.items()}
    assert max(used.values()) <= 80, used
    assert (
        max(used[f"sm_90 {dtype} {emit}"] for dtype in DTYPES for emit in ("spikes", "psp")) <= 48
    )


def test_arithmetic_is_rounded_as_written(variants: dict[str, Any]) -> None:
    for name, variant in variants.items():
        ptx = variant["ptx"]
        assert "add.rn.f32" in ptx, name
        assert not re.search(r"\b(fma|mad)\.\S*f32", ptx), f"{name}: contracted"
        assert not re.search(r"\b(add|sub|setp|cvt)\S*\.ftz", ptx), f"{name}: flushes subnormals"


@pytest.mark.parametrize("emit", ["words", "count"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_spike_adds_to_words_and_counts_in_floats(
    variants: dict[str, Any], dtype: str, emit: str
) -> None:
    # A select of floats behind an addition becomes an addition under a predicate, one instruction;
    # one of integers stays two.
    found = Counter(re.findall(r"\bselp\.\w+", variants[f"sm_90 {dtype} {emit}"]["ptx"]))
    neurons = 4 if dtype == "float32" else 8
    assert found == {"selp.f32": 2 * neurons * STEPS_IN_FLIGHT}


@pytest.mark.parametrize("parameters", ["spikes", "per neuron", "per channel", "strided"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_accesses_are_16_bytes_wide(
    variants: dict[str, Any], dtype: str, parameters: str
) -> None:
    variant = variants[f"sm_90 {dtype} {parameters}"]
    assert widths(variant, "ld").count(16) >= STEPS_IN_FLIGHT
    assert set(widths(variant, "st")) == {16}


def test_wide_indices_keep_wide_accesses(variants: dict[str, Any]) -> None:
    variant = variants["sm_90 wide"]
    assert widths(variant, "ld").count(16) == STEPS_IN_FLIGHT
    assert set(widths(variant, "st")) == {16}


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_what_is_asked_for_is_moved(variants: dict[str, Any], dtype: str) -> None:
    alone = variants[f"sm_90 {dtype} alone"]
    # theta and v_init once, one vector of x and of spikes a step.
    assert widths(alone, "ld") == [4, 4] + [16] * STEPS_IN_FLIGHT
    assert widths(alone, "st") == [16] * STEPS_IN_FLIGHT
    size = 4 if dtype == "float32" else 2
    # [N] words or counts and v, 4 bytes each, after the last step.
    for emit in ("words", "count"):
        assert widths(variants[f"sm_90 {dtype} {emit}"], "st") == [16] * (2 * 4 // size)
    as_bytes = widths(variants[f"sm_90 {dtype} uint8"], "st")
    assert as_bytes[:STEPS_IN_FLIGHT] == [16 // size] * STEPS_IN_FLIGHT


@pytest.mark.parametrize(
    "emit", ["spikes", "uint8", "trace", "bias a step", "bias a step and channel"]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_loads_of_several_steps_precede_their_stores(
    variants: dict[str, Any], dtype: str, emit: str
) -> None:
    kinds = [kind for kind, _ in variants[f"sm_90 {dtype} {emit}"]["accesses"]]
    assert kinds.index("st") == kinds.count("ld") >= STEPS_IN_FLIGHT


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bias_of_each_step_is_read_in_place(variants: dict[str, Any], dtype: str) -> None:
    # Beside theta and v_init: x, and for each step of the loop one number, or a vector of them.
    size = 4 if dtype == "float32" else 2
    one = widths(variants[f"sm_90 {dtype} bias a step"], "ld")
    assert sorted(one) == [4] * (2 + STEPS_IN_FLIGHT) + [16] * STEPS_IN_FLIGHT
    each = widths(variants[f"sm_90 {dtype} bias a step and neuron"], "ld")
    assert sorted(each) == [4, 4] + [16] * STEPS_IN_FLIGHT * (1 + 4 // size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_static_input_is_loaded_once(variants: dict[str, Any], dtype: str) -> None:
    assert widths(variants[f"sm_90 {dtype} static"], "ld").count(16) == 1


def test_offsets_are_made_in_64_bits(variants: dict[str, Any]) -> None:
    for name, variant in variants.items():
        products = re.findall(r"arith\.muli .* : (.+?)(?: loc.*)?$", variant["ttir"], re.MULTILINE)
        assert products, name
        assert all("i64" in product for product in products), f"{name}: {products}"


def test_division_is_in_32_bits_where_indices_fit(variants: dict[str, Any]) -> None:
    divisions = re.compile(r"\b(?:div|rem)\.([us]\d+)")
    assert set(divisions.findall(variants["sm_90 float32 per channel"]["ptx"])) == {"u32"}
    assert "s64" in divisions.findall(variants["sm_90 wide"]["ptx"])
    for one_dimension in ("per neuron", "time innermost"):
        assert not divisions.search(variants[f"sm_90 float32 {one_dimension}"]["ptx"])


@pytest.fixture(scope="module")
def backward(built: dict[str, Any]) -> dict[str, Any]:
    return built["backward"]


def test_the_way_back_stays_in_registers(backward: dict[str, Any]) -> None:
    assert len(backward) == 15
    for name, variant in backward.items():
        assert (variant["STACK"], variant["LOCAL"]) == (0, 0), name
        assert variant["REG"] <= 128, name  # 512 threads a multiprocessor


def test_the_way_back_is_rounded_as_written(backward: dict[str, Any]) -> None:
    for name, variant in backward.items():
        assert not re.search(r"\b(fma|mad)\.\S*f32", variant["ptx"]), f"{name}: contracted"
        assert not re.search(r"\bdiv\.(full|approx)", variant["ptx"]), f"{name}: divides roughly"
        assert "ex2" not in variant["ptx"], f"{name}: an exponential that is not ours"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_way_back_moves_vectors(backward: dict[str, Any], dtype: str) -> None:
    # theta and v_init; x to run forward, x and the gradient of the spikes to go back; a start.
    wide = 16 if dtype == "float32" else 8
    alone = backward[f"{dtype} x alone"]
    assert sorted(widths(alone, "ld")) == sorted([4, 4, *[wide] * 3 * STEPS_IN_FLIGHT, 16])
    assert sorted(widths(alone, "st")) == sorted([*[wide] * STEPS_IN_FLIGHT, 16])


def test_new_sizes_compile_nothing_new(built: dict[str, Any]) -> None:
    keys = built["keys"]
    assert len(keys) == 14
    # One kernel for every T and every N that is a multiple of 16, one for all other N.
    for bias in ("plain", "biased"):
        aligned, others = set(), set()
        for called, key in keys.items():
            if called.endswith(bias):
                (others if int(called.split()[1]) % 16 else aligned).add(key)
        assert len(aligned) == len(others) == 1
        assert aligned != others
