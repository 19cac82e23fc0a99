"""What the compiler alone can tell of the sources under csrc/."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
# What a kernel's file, named after its instruction set, defines for the others.
ENTRIES = {"if_multistep": "if_advance", "if_backward": "go_back", "int": "int_kernels"}
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
    starts = ("thread.h", "backward_thread.h", "if_multistep_kernel.h", "if_backward_kernel.h")
    starts = (*starts, "int_scan.h")
    waiting = [path for name in starts if (path := CSRC / folder / name).is_file()]
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


def flags(name: str) -> list[str]:
    """A list of compiler flags out of setup.py, which cannot be imported without building."""
    tree = ast.parse((CSRC.parent / "setup.py").read_text())
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    return ast.literal_eval(value)


def test_a_product_and_a_sum_are_rounded_one_by_one(tmp_path: Path) -> None:
    """On AVX-512 the compiler would fuse them if it were let."""
    kernel = CSRC / "cpu" / "if_backward_avx512.cpp"
    compiler = shlex.split(os.environ.get("CXX", "c++"))

    def fused(*given: str) -> bool:
        written = tmp_path / "kernel.s"
        files = ["-I", str(CSRC), "-S", str(kernel), "-o", str(written)]
        subprocess.run([*compiler, "-std=c++17", "-fPIC", *given, *files], check=True)
        return "vfmadd" in written.read_text() or "vfnmadd" in written.read_text()

    assert not fused(*flags("CXX_FLAGS"))
    assert "-ffp-contract=off" in flags("CXX_FLAGS")
    assert "-fmad=false" in flags("NVCC_FLAGS")
