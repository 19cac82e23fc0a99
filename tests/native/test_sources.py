"""What the compiler alone can tell of the sources under csrc/."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
ENTRIES = {"if_multistep": "if_advance", "int": "int_kernels"}
KERNELS = [
    path
    for prefix in ENTRIES
    for path in sorted((CSRC / "cpu").glob(f"{prefix}_*.cpp"))
    if "#define SPIKECONV_ISA" in path.read_text()
]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.stem)
def test_code_for_one_instruction_set_serves_no_other(kernel: Path, tmp_path: Path) -> None:
    """Whatever the linker could pick for all files carries the instruction set in its name."""
    compiled = tmp_path / "kernel.o"
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    flags = ["-std=c++17", "-fPIC", "-fno-exceptions", "-Wall", "-Wextra", "-Werror"]
    files = ["-I", str(CSRC), "-c", str(kernel), "-o", str(compiled)]
    subprocess.run([*compiler, *flags, *files], check=True)
    listed = subprocess.run(
        ["nm", "-C", "--defined-only", "--extern-only", str(compiled)],
        capture_output=True,
        text=True,
        check=True,
    )
    prefix = next(prefix for prefix in ENTRIES if kernel.stem.startswith(f"{prefix}_"))
    isa = kernel.stem.removeprefix(f"{prefix}_")
    names = [line.split(maxsplit=2)[2] for line in listed.stdout.splitlines()]
    assert any(f"cpu::{isa}::{ENTRIES[prefix]}" in name for name in names)
    assert [name for name in names if f"spikeconv::cpu::{isa}::" not in name] == []


@pytest.mark.parametrize("folder", ["cuda", "cpu"])
def test_kernels_include_neither_torch_nor_the_standard_library(folder: str) -> None:
    """What is compiled for the device or for a higher instruction set, and all it includes."""
    waiting = [*CSRC.glob(f"{folder}/thread.h"), *CSRC.glob(f"{folder}/if_multistep_kernel.h")]
    waiting += CSRC.glob(f"{folder}/int_scan.h")
    seen = set()
    while waiting:
        header = waiting.pop()
        if header in seen:
            continue
        seen.add(header)
        for name in re.findall(r'^#include [<"]([^>"]+)[>"]', header.read_text(), re.MULTILINE):
            if not (CSRC / name).is_file():
                assert name == "stdint.h", f"{header.name} includes {name}"
            else:
                waiting.append(CSRC / name)
    assert CSRC / "if_neuron.h" in seen
