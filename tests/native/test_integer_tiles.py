"""The integer kernels, tile by tile, by lists and by words, under the compiler's sanitizers."""

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


def compile_program(
    program: Path, kernels: list[Path], *flags: str
) -> subprocess.CompletedProcess[str]:
    """Compile the source of that name with some of the kernels."""
    files = [str(Path(__file__).with_name(f"{program.name}.cpp")), *map(str, kernels)]
    return subprocess.run(
        [
            *shlex.split(os.environ.get("CXX", "c++")),
            *("-std=c++17", "-O1", "-g0", "-Wall", "-Wextra", "-Werror", *flags),
            *("-I", str(ROOT / "csrc"), "-o", str(program), *files),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def make_program(program: Path, *, portable: bool) -> Path:
    """Compile it, with sanitizers where the compiler has their libraries."""
    kernels = [
        path
        for path in sorted((ROOT / "csrc" / "cpu").glob("int_*.cpp"))
        if "#define SPIKECONV_ISA" in path.read_text() and (not portable or path.stem in PORTABLE)
    ]
    flags = ["-DSPIKECONV_PORTABLE"] if portable else []
    if compile_program(program, kernels, *flags, *SANITIZERS).returncode != 0:
        done = compile_program(program, kernels, *flags)
        assert done.returncode == 0, done.stderr
    return program


def run(program: Path, isa: str, cases: int = 300) -> None:
    done = subprocess.run([program, isa, "300"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{cases}\n"), done.stderr


def able(program: str, isa: str) -> bool:
    """Whether an instruction set has kernels for it."""
    lookups = isa.startswith("avx")
    events = not isa.startswith("amx")
    return {"integer_tiles": True, "integer_events": events, "integer_lookups": lookups}[program]


@pytest.fixture(scope="module", params=["integer_tiles", "integer_events", "integer_lookups"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_program(tmp_path_factory.mktemp("native") / request.param, portable=False)


@pytest.mark.parametrize("isa", [*instruction_sets(), "amx_emulated"])
def test_random_cases(program: Path, isa: str) -> None:
    run(program, isa, 300 if able(program.name, isa) else 0)


@pytest.mark.parametrize("name", ["integer_tiles", "integer_events"])
def test_random_cases_in_plain_cpp(tmp_path: Path, name: str) -> None:
    """What processors other than x86-64 run."""
    run(make_program(tmp_path / name, portable=True), "default")
