"""Without a GPU Triton's kernels run in its interpreter: with int32 that wraps, as on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from triton.runtime import interpreter


@pytest.fixture(autouse=True)
def int32_wraps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compiled kernels do not look for overflows; the interpreter does, and takes twice as long."""
    builder = interpreter.interpreter_builder
    monkeypatch.setattr(builder, "options", replace(builder.options, sanitize_overflow=False))
    yield
