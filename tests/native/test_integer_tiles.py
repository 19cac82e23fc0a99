"""The integer kernels, tile by tile, under the compiler's sanitizers."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from spikeconv.ops.native import instruction_sets

ROOT = Path(__file__).parents[2]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


PORTABLE = ("int_baseline", "int_amx_emulated")


def compile_tiles(
    folder: Path, kernels: list[Path], *flags: str
) -> subprocess.CompletedProcess[str]:
    """Compile integer_tiles.cpp with some of the kernels into a program of that name."""
    files = [str(Path(__file__).with_name("integer_tiles.cpp")), *map(str, kernels)]
    return subprocess.run(
        [
            *shlex.split(os.environ.get("CXX", "c++")),
            *("-std=c++17", "-O1", "-g0", "-Wall", "-Wextra", "-Werror", *flags),
            *("-I", str(ROOT / "csrc"), "-o", str(folder / "integer_tiles"), *files),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def tiles_program(folder: Path, *, portable: bool) -> Path:
    """The program, with sanitizers where the compiler has their libraries."""
    kernels = [
        path
        for path in sorted((ROOT / "csrc" / "cpu").glob("int_*.cpp"))
        if "#define SPIKECONV_ISA" in path.read_text() and (not portable or path.stem in PORTABLE)
    ]
    flags = ["-DSPIKECONV_PORTABLE"] if portable else []
    if compile_tiles(folder, kernels, *flags, *SANITIZERS).returncode != 0:
        done = compile_tiles(folder, kernels, *flags)
        assert done.returncode == 0, done.stderr
    return folder / "integer_tiles"


def run(program: Path, isa: str) -> None:
    done = subprocess.run([program, isa, "300"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "300\n"), done.stderr


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiles_program(tmp_path_factory.mktemp("tiles"), portable=False)


@pytest.mark.parametrize("isa", [*instruction_sets(), "amx_emulated"])
def test_random_tiles(program: Path, isa: str) -> None:
    run(program, isa)


def test_random_tiles_in_plain_cpp(tmp_path: Path) -> None:
    """What processors other than x86-64 run."""
    run(tiles_program(tmp_path, portable=True), "default")
