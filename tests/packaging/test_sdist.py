"""A source distribution holds all that a wheel is built from, and needs neither torch nor g++."""

from __future__ import annotations

import tarfile
from fnmatch import fnmatch

import pytest

NO_TORCH_AND_NO_COMPILER = """if True:
    import runpy, sys
    sys.modules["torch"] = None
    sys.argv = ["setup.py", "--quiet", "sdist", "--dist-dir", sys.argv[1]]
    runpy.run_path("setup.py")
"""


@pytest.fixture(scope="module")
def names(tree, python, tmp_path_factory) -> set[str]:
    folder = tmp_path_factory.mktemp("sdist")
    command = ["-c", NO_TORCH_AND_NO_COMPILER, str(folder)]
    answer = python(*command, cwd=tree, CXX="no-such-compiler")
    assert answer.returncode == 0, answer.stderr
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        return {name.partition("/")[2] for name in sdist.getnames()}


def test_holds_every_source_and_header(names, tree):
    for folder in ("csrc", "kernels", "requirements", "spikeconv"):
        files = {str(p.relative_to(tree)) for p in (tree / folder).rglob("*") if p.is_file()}
        assert files <= names


@pytest.mark.parametrize("file", ["LICENSE", "Makefile", "README.md", "pyproject.toml", "setup.py"])
def test_holds_what_a_reader_looks_for(names, file):
    assert file in names


def test_holds_what_its_tests_and_examples_read(root):
    """By the patterns alone: the copy that a test builds from has none of these folders."""
    patterns = [
        (folder, pattern)
        for line in (root / "MANIFEST.in").read_text().splitlines()
        if line.startswith("recursive-include ")
        for folder, *those in [line.split()[1:]]
        for pattern in those
    ]
    files = [
        path.relative_to(root)
        for folder in ("bench", "docs", "examples", "tests")
        for path in (root / folder).rglob("*")
        if path.suffix in (".py", ".h", ".cpp", ".cu", ".sh", ".md")
    ]
    left_out = [
        path
        for path in files
        if not any(path.parts[0] == f and fnmatch(path.name, pattern) for f, pattern in patterns)
    ]
    assert files
    assert left_out == []


def test_holds_nothing_built(names):
    assert not [name for name in names if name.endswith((".so", ".pyc", ".o"))]
