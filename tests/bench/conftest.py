"""The benchmarks are scripts, not a package: their folder is what Python adds when it runs one."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fixtures import one_thread as one_thread

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))


def _load(script: str) -> ModuleType:
    """A script as a module of its own name: plain `kernels` is a folder beside `bench`."""
    spec = importlib.util.spec_from_file_location(f"bench_{script}", BENCH / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bench() -> Path:
    """Folder of the benchmark scripts."""
    return BENCH


@pytest.fixture
def smoke_run(tmp_path: Path) -> Callable[..., tuple[Any, subprocess.CompletedProcess[str]]]:
    """Name of a script and more options -> its JSON, and what it said in a process of its own."""

    def run(script: str, *options: str) -> tuple[Any, subprocess.CompletedProcess[str]]:
        path = tmp_path / f"{script}.json"
        command = [sys.executable, str(BENCH / f"{script}.py"), "--smoke", *options]
        command += ["--json", str(path)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(path.read_text()), done

    return run


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Name of a file of that folder -> its module."""
    return _load


@pytest.fixture(scope="session")
def kernels() -> ModuleType:
    """bench/kernels.py."""
    return _load("kernels")


@pytest.fixture(scope="module")
def accuracy() -> ModuleType:
    """bench/accuracy.py."""
    return _load("accuracy")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network for digits."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    import_module("accuracy_smoke").write_weights(path)
    return path
