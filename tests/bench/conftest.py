"""The benchmarks are scripts, not a package: their folder is what Python adds when it runs one."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

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


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Name of a file of that folder -> its module."""
    return _load


@pytest.fixture(scope="session")
def kernels() -> ModuleType:
    """bench/kernels.py."""
    return _load("kernels")
