"""Rules of the whole suite: no test is skipped unseen, and Triton is tested without a GPU too."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
import torch

HAS_GPU = torch.cuda.is_available()

# Read by triton where a kernel is defined, so it is set before any test imports one.
if not HAS_GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked gpu where there is none."""
    if not HAS_GPU:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


def unexpected_skips(skipped: Iterable[str], expected: Iterable[str]) -> list[str]:
    """One line for each test that was skipped and should have run, or the other way round."""
    skipped, expected = set(skipped), set(expected)
    return [
        *(f"skipped without the mark gpu: {name}" for name in sorted(skipped - expected)),
        *(f"ran, though marked gpu: {name}" for name in sorted(expected - skipped)),
    ]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that is green but for its skips."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus != pytest.ExitCode.OK or reporter is None or session.config.option.collectonly:
        return
    marked = [item.nodeid for item in session.items if item.get_closest_marker("gpu")]
    skipped = [report.nodeid for report in reporter.stats.get("skipped", [])]
    problems = unexpected_skips(skipped, [] if HAS_GPU else marked)
    if problems:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.ensure_newline()
        reporter.section("only tests marked gpu may be skipped", red=True)
        for problem in problems:
            reporter.line(problem)
