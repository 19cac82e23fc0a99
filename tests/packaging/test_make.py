"""`make` explains itself, and the suite's rule about skips holds."""

from __future__ import annotations

import re
import shutil
import subprocess


def test_help_lists_every_command(root):
    phony = re.search(r"^\.PHONY: (.+)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    answer = subprocess.run(["make"], cwd=root, capture_output=True, text=True, check=True)
    assert re.findall(r"^  make (\w+) +\S", answer.stdout, re.MULTILINE) == phony[1].split()


def test_commands_bear_a_folder_with_a_space(tree, tmp_path):
    """Whatever a recipe calls is named from the folder that make is called in."""
    folder = tmp_path / "a b"
    shutil.copytree(tree, folder)
    command = ["make", "--no-print-directory", "--dry-run", "demo", "test", "bench", "lint"]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert ".venv/bin/python -m pip" in answer.stdout
    assert "a b" not in answer.stdout


GREEN = """
import pytest
from conftest import HAS_GPU

@pytest.mark.parametrize("backend", ["cpp", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_marked(backend):
    assert backend == "cpp" or HAS_GPU
"""

UNMARKED = """
import pytest

@pytest.mark.skip(reason="needs a CUDA GPU")
def test_by_mark():
    pass

def test_by_call():
    pytest.skip("later")
"""

NOT_COLLECTED = """
import pytest

pytest.importorskip("no_such_package")
"""


def test_a_skip_fails_the_run_unless_marked(root, python, tmp_path):
    for file in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(root / file, tmp_path)
    (tmp_path / "test_green.py").write_text(GREEN)
    (tmp_path / "test_unmarked.py").write_text(UNMARKED)
    (tmp_path / "test_gone.py").write_text(NOT_COLLECTED)

    green = python("-m", "pytest", "test_green.py", cwd=tmp_path)
    assert green.returncode == 0, green.stdout
    red = python("-m", "pytest", ".", cwd=tmp_path)
    assert red.returncode == 1
    assert re.findall(r"^skipped without a mark: (\S+)$", red.stdout, re.MULTILINE) == [
        "test_gone.py",
        "test_unmarked.py::test_by_call",
        "test_unmarked.py::test_by_mark",
    ]
