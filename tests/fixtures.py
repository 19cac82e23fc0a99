"""Fixtures that folders share; a conftest.py, or a file of tests, that imports one has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and lose much on shared cores.

    Afterwards there are as many as before, whatever a test has set.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_seed() -> None:
    """The same random numbers in every test."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """Back to as many threads as before, where a test sets them."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    """torch.compile forgets what it compiled, before and after."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def int32_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled kernels do not look for overflows; the interpreter does, and takes twice as long."""
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    monkeypatch.setattr(builder, "options", replace(builder.options, sanitize_overflow=False))
