"""The integer kernels, tile by tile, under the compiler's sanitizers."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from spikeconv.ops.integer import isas

ROOT = Path(__file__).parents[2]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def compile_tiles(folder: Path, sanitizers: list[str]) -> Path | None:
    """The program of integer_tiles.cpp, or None where it cannot be made with those sanitizers."""
    kernels = [
        path
        for path in sorted((ROOT / "csrc" / "cpu").glob("int_*.cpp"))
        if "#define SPIKECONV_ISA" in path.read_text()
    ]
    program = folder / "integer_tiles"
    flags = ["-std=c++17", "-O1", "-g0", "-Wall", "-Wextra", "-Werror", *sanitizers]
    files = [str(Path(__file__).with_name("integer_tiles.cpp")), *map(str, kernels)]
    done = subprocess.run(
        [
            *shlex.split(os.environ.get("CXX", "c++")),
            *flags, "-I", str(ROOT / "csrc"), "-o", str(program), *files,
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert sanitizers or done.returncode == 0, done.stderr
    return program if done.returncode == 0 else None


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With sanitizers where the compiler has their libraries."""
    folder = tmp_path_factory.mktemp("tiles")
    made = compile_tiles(folder, SANITIZERS) or compile_tiles(folder, [])
    assert made is not None
    return made


@pytest.mark.parametrize("isa", [*isas(), "amx_emulated"])
def test_random_tiles(program: Path, isa: str) -> None:
    done = subprocess.run([program, isa, "300"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "300\n"), done.stderr
