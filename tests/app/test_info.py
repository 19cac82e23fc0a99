"""spikeconv info: which instructions the CPU kernels take, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from spikeconv.cli import info, main


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("", "; avx2 is taken"),
        ("default", "; default is taken, by SPIKECONV_ISA"),
        ("amx", "SPIKECONV_ISA asks for amx, which is none of them"),
    ],
)
def test_info_tells_which_instructions_are_taken(
    asked: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(info, "instruction_sets", lambda: ["default", "avx2"])
    monkeypatch.setenv("SPIKECONV_ISA", asked)
    assert main(["info"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("instruction sets of cpp: default, avx2") and says in last


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    command = [sys.executable, "-m", "spikeconv", "info"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stderr is not None
        run.stdout.close()  # as `| head` does
        assert run.stderr.read() == b""
    assert run.returncode == 1


def test_another_pipe_that_breaks_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object) -> None:
        raise BrokenPipeError("a worker's")

    monkeypatch.setattr(info, "instruction_sets", broken)
    assert main(["info"]) == 2
    assert "spikeconv: a worker's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("SPIKECONV_ISA", "SPIKECONV_ISA must be one of default, "),
        ("SPIKECONV_BACKEND", "backend (from SPIKECONV_BACKEND) must be one of 'reference', "),
    ],
)
def test_a_wrong_variable_ends_a_command_before_its_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, says: str
) -> None:
    monkeypatch.setenv(variable, "bogus")
    assert main(["demo", "--epochs", "1"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert says in err and err.endswith("got 'bogus'\n")


@pytest.mark.parametrize(
    ("name", "says"),
    [("reference", "asks for reference\n"), ("bogus", "must be one of 'reference', ")],
)
def test_info_tells_which_backend_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    monkeypatch.setenv("SPIKECONV_BACKEND", name)
    assert main(["info"]) == 0
    assert says in capsys.readouterr().out
