"""A copy of the sources to build in, so that no test touches the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("csrc", "kernels", "requirements", "spikeconv", "tests/packaging")
FILES = ("LICENSE", "MANIFEST.in", "Makefile", "README.md", "pyproject.toml", "setup.py")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a build reads, without anything that an earlier build left."""
    copy = tmp_path_factory.mktemp("project") / "spikeconv"
    built = shutil.ignore_patterns("*.so", "__pycache__", ".*")
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, copy / folder, ignore=built)
    for file in FILES:
        shutil.copy(ROOT / file, copy / file)
    return copy


@pytest.fixture(scope="session")
def python() -> Run:
    """python(*arguments, cwd=..., NAME=value...): this interpreter in a process of its own."""

    def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
