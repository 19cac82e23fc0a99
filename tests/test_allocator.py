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
def test_memory_that_is_kept_stays_with_the_allocator() -> None:
    program = """if True:
        import ctypes, torch
        from spikeconv.allocator import keep_freed_memory

        class Info(ctypes.Structure):  # of glibc's mallinfo(3)
            _fields_ = [(name, ctypes.c_int) for name in (
                "arena", "ordblks", "smblks", "hblks", "hblkhd",
                "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

        mallinfo = ctypes.CDLL(None).mallinfo
        mallinfo.restype = Info

        def kept():
            torch.ones(64, 2**18)  # 64 MiB, freed at once
            return mallinfo().fordblks >= 2**26

        print(kept(), keep_freed_memory(), kept())
    """
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True", "True"]
