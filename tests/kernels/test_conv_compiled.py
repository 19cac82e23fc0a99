"""What the compiler makes of the convolution kernel, for GPUs that need not be here."""

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

ROOT = Path(__file__).parents[2]
LAYERS = ["plain", "shortcut", "signed", "signed shortcut", "pooled", "int16", "int24"]
BOTH = [f"sm_{arch} {name}" for arch in (80, 90) for name in LAYERS]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything compiled anew, in a process that sees no GPU and no interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    environment["CUDA_VISIBLE_DEVICES"] = ""
    answer = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_conv"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def built(everything: dict[str, Any]) -> dict[str, Any]:
    return everything["variants"]


def test_tiles_are_compiled_side_by_side(everything: dict[str, Any]) -> None:
    assert everything["side by side"] == 2


def test_no_more_than_a_few_registers_spill(built: dict[str, Any]) -> None:
    # Eight of them cost nothing: of five tiles for 64 channels one that spills 24 bytes was the
    # fastest on an H200. A tile that is never taken untimed may spill twice as many. Three sums
    # of a current find no room on Ampere.
    assert built
    for name, variant in built.items():
        most = 256 if name == "sm_80 int24" else 64 if "joined" in name else 32
        assert variant["STACK"] <= most, name
        assert not variant["LOCAL"], name


@pytest.mark.parametrize("name", BOTH)
def test_products_are_the_matrix_units(built: dict[str, Any], name: str) -> None:
    used = set(re.findall(r"(?:wgmma\.mma_async|mma\.sync)\S*", built[name]["ptx"]))
    assert used
    for instruction in used:
        assert re.search(r"k32.*\.s32\.s8\.s8", instruction), instruction
        assert instruction.startswith("wgmma" if "sm_90" in name else "mma.sync")


@pytest.mark.parametrize("arch", [80, 90])
def test_bfloat16_products_are_the_matrix_units(built: dict[str, Any], arch: int) -> None:
    used = re.findall(r"(?:wgmma\.mma_async|mma\.sync)\S*", built[f"sm_{arch} bf16"]["ptx"])
    assert used
    assert all("bf16" in instruction and "f32" in instruction for instruction in used)


@pytest.mark.parametrize("name", BOTH)
def test_fields_and_weights_come_in_wide_copies(built: dict[str, Any], name: str) -> None:
    copies = re.findall(r"cp\.async\.\S+ \[[^]]*\], \[[^]]*\], (0x\w+|\d+)", built[name]["ptx"])
    assert copies
    # A chunk of 32 channels' weights is 8 bytes for each of 256 threads.
    assert {int(size, 0) for size in copies} <= {8, 16}


@pytest.mark.parametrize("arch", [80, 90])
def test_a_spike_costs_a_quarter_of_an_instruction(built: dict[str, Any], arch: int) -> None:
    # One mask for the four bytes of a register, for each of the eight steps that a byte holds.
    ptx = built[f"sm_{arch} plain"]["ptx"]
    masks = [re.findall(rf"and\.b32 \s*%r\d+, %r\d+, {0x01010101 << t};", ptx) for t in range(7)]
    masks.append(re.findall(rf"and\.b32 \s*%r\d+, %r\d+, {(0x80808080) - 2**32};", ptx))
    counts = {len(found) for found in masks}
    assert counts == {max(counts)}, counts
    # 128 x 64 bytes of fields are loaded by 256 threads, 8 registers each.
    assert max(counts) == 8


def test_products_of_joined_steps_are_waited_for_together(built: dict[str, Any]) -> None:
    # A chunk's products are the same whatever is joined; after so many steps of them comes a wait.
    waits = {}
    for chunk, warps, joined in ((128, 4, 2), (64, 4, 4), (64, 8, 4)):
        (name,) = (
            name
            for name in built
            if re.search(rf"plain .*chunk={chunk}, num_warps={warps}.*joined={joined}", name)
        )
        ptx = built[name]["ptx"]
        waits[joined, warps] = len(re.findall(r"wgmma\.wait_group", ptx))
        assert len(re.findall(r"wgmma\.mma_async", ptx)) == 8 * chunk // 32, name
    assert waits == {(2, 4): 4, (4, 4): 2, (4, 8): 2}


@pytest.mark.parametrize("arch", [80, 90])
def test_depthwise_layers_need_no_products(built: dict[str, Any], arch: int) -> None:
    assert "mma" not in built[f"sm_{arch} depthwise"]["ptx"]


def test_whatever_is_loaded_is_used(built: dict[str, Any]) -> None:
    # Triton 3.6 once took all neurons of a thread for one, and read one coefficient of sixteen.
    for name, variant in built.items():
        loaded = re.findall(r"\bld\.global\S*\s+\{([^}]*)\}", variant["ptx"])
        assert loaded, name
        # A register is cleared and loaded; what is used occurs once more.
        seen = Counter(re.findall(r"%\w+\d+\b", variant["ptx"]))
        unused = [r for group in loaded for r in re.findall(r"%\w+\d+\b", group) if seen[r] < 3]
        assert not unused, (name, unused)
