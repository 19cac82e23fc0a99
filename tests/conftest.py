"""Rules of the whole suite: no test is skipped unseen, and Triton is tested without a GPU too."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch

HAS_GPU = torch.cuda.is_available()

# The marks that let a test be skipped: whether what it needs is here, and what to say where not.
NEEDS = {
    "gpu": (HAS_GPU, "needs a CUDA GPU"),
    "nir": (importlib.util.find_spec("nir") is not None, "needs nir (pip install nir)"),
    "spikingjelly": (
        importlib.util.find_spec("spikingjelly") is not None,
        "needs SpikingJelly (make bench)",
    ),
    **{
        library: (
            importlib.util.find_spec(library) is not None,
            f"needs {library} (requirements/drop-in.txt)",
        )
        for library in ("snntorch", "sinabs", "norse")
    },
}

# Read by triton where a kernel is defined, so it is set before any test imports one.
if not HAS_GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")


def missing(item: pytest.Item) -> list[str]:
    """What a test needs by its marks and this machine lacks."""
    return [
        why for mark, (here, why) in NEEDS.items() if item.get_closest_marker(mark) and not here
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests whose marks say so here."""
    for item in items:
        for why in missing(item):
            item.add_marker(pytest.mark.skip(reason=why))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a green run that skipped a test without such a mark, or ran one in spite of it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus != pytest.ExitCode.OK or reporter is None or session.config.option.collectonly:
        return
    expected = {item.nodeid for item in session.items if missing(item)}
    skipped = {report.nodeid for report in reporter.stats.get("skipped", [])}
    if expected != skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.ensure_newline()
        reporter.section(f"only tests marked {' or '.join(NEEDS)} may be skipped", red=True)
        for name in sorted(skipped - expected):
            reporter.line(f"skipped without a mark: {name}")
        for name in sorted(expected - skipped):
            reporter.line(f"ran in spite of its mark: {name}")
