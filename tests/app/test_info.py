"""spikeconv info: which instructions the CPU kernels take."""

from __future__ import annotations

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
