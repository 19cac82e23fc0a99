"""The CPU operator equals the neuron by the book on every instruction set that this machine has."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.native.cases import (
    BIASES,
    DTYPES,
    EMITS,
    LAYOUTS,
    POTENTIALS,
    THRESHOLDS,
    Case,
    arguments,
    currents,
    population,
    view,
)
from tests.native.sweep import compare

importlib.import_module("spikeconv._C")
cpp = torch.ops.spikeconv._if_multistep_cpp
ISAS: list[str] = torch.ops.spikeconv._cpu_isas()


def python(*arguments: str, isa: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "SPIKECONV_ISA": isa, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("module", "least"), [("sweep", 2000), ("sweep_back", 1000)])
def test_every_option_on_each_instruction_set(module: str, least: int, isa: str) -> None:
    done = python("-m", f"tests.native.{module}", isa=isa)
    assert done.returncode == 0, done.stderr
    name, comparisons = done.stdout.split()
    assert name == isa
    assert int(comparisons) > least


def test_an_instruction_set_that_is_not_there_is_an_error() -> None:
    done = python("-m", "tests.native.sweep", isa="mmx")
    assert done.returncode != 0
    assert f"SPIKECONV_ISA must be one of {', '.join(ISAS)} on this processor, got mmx" in (
        done.stderr
    )


# From 16 MB of output on: written around the caches where rows are whole cache lines.
@pytest.mark.parametrize("isa", ISAS)
def test_outputs_too_large_for_a_cache(isa: str) -> None:
    done = python("-m", "tests.native.large", isa=isa)
    assert (done.returncode, done.stdout) == (0, f"{isa} 8\n"), done.stderr


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads: int) -> None:
    torch.manual_seed(1)
    case = population(
        torch.bfloat16, 5, (3, 7, 4099), "gaps", static=False, signed=True, hard=False, bias="timed"
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        compare(cpp, case, ("psp", "last"), ("count", "last"))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("emit", EMITS)
def test_no_neurons(emit: str) -> None:
    nothing = torch.empty(0)
    case = Case(torch.empty(4, 3, 0), nothing.expand(3, 0), nothing.expand(3, 0))
    emitted, v = case.outputs(emit, "all")
    cpp(**arguments(case, emitted, v, emit, "all"))
    assert emitted.numel() == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_subnormal_numbers_count_where_they_are_flushed(dtype: torch.dtype) -> None:
    """float16's smallest numbers are ordinary float32 numbers, whatever the processor is set to."""
    smallest = torch.finfo(torch.float16).smallest_normal / 1024
    x = torch.full((4, 67), smallest, dtype=torch.float16)
    case = Case(x, torch.full((67,), 2 * smallest), torch.zeros(67))
    assert torch.set_flush_denormal(True)
    try:
        emitted, v = case.outputs("count", "last")
        cpp(**arguments(case, emitted, v, "count", "last"))
    finally:
        torch.set_flush_denormal(False)
    assert emitted.tolist() == [2] * 67
    assert v is not None
    assert v.tolist() == [0.0] * 67


def test_rows_longer_than_a_block_in_every_layout() -> None:
    torch.manual_seed(2)
    x = view((9, 2, 2050), "gaps", currents(torch.float32))
    theta, v_init = view((2, 2050), "last", THRESHOLDS), view((2, 2050), "reversed", POTENTIALS)
    for layout in LAYOUTS:
        bias = view((9, 2, 2050), layout, BIASES)
        compare(cpp, Case(x, theta, v_init, bias, hard=True), ("psp", "all"))


@pytest.mark.parametrize("run", [1, 63, 64, 65, 96, 128, 192, 4096, 8192])
def test_a_bias_with_time_that_runs_of_neighbours_share(run: int) -> None:
    torch.manual_seed(3)
    sizes = (3, 5, run) if run < 1000 else (3, run)
    x = view((11, *sizes), "dense", currents(torch.bfloat16))
    theta, v_init = view(sizes, "last", THRESHOLDS), view(sizes, "dense", POTENTIALS)
    for shape in (sizes[:-1], (1, *sizes[1:-1])):
        bias = view((11, *shape, 1), "dense", BIASES).expand(11, *sizes)
        compare(cpp, Case(x, theta, v_init, bias, signed=True), ("spikes", "all"))
