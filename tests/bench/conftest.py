"""The benchmarks are scripts, not a package: their folder is what Python adds when it runs one."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small work on many threads mostly waits; and the scripts set the number as they like."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
