"""Freed memory that is kept, by the command and on request."""

from __future__ import annotations

import subprocess
import sys

import pytest

from spikeconv import cli
from spikeconv.allocator import c_library


def test_the_process_of_the_command_keeps_freed_memory_and_a_program_that_calls_it_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: asked.append(True))
    assert cli.main(["info"]) == 0
    assert not asked
    monkeypatch.setattr(sys, "argv", ["spikeconv", "info"])
    assert cli.main() == 0
    assert asked == [True]


@pytest.mark.skipif(c_library() is None, reason="there is no glibc, which it is about")
def test_memory_that_is_kept_costs_no_page_faults() -> None:
    program = """if True:
        import ctypes, resource, torch
        from spikeconv.allocator import keep_freed_memory

        ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages: each page is a fault

        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            torch.ones(64, 2**18)  # 64 MiB
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        torch.ones(1)
        cold = min(faults(), faults())
        print(keep_freed_memory())
        faults()
        print(faults() < cold / 10)
    """
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True"]
