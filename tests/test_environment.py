"""What is said of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikeconv import environment


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        ("fpu avx2 avx512f avx512_vnni", False),
        ("fpu avx512f avx512_bf16", True),
        ("fpu avx512f amx_bf16 amx_int8", True),
        ("", False),
    ],
)
def test_bfloat16_is_fast_where_the_processor_multiplies_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, fast: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: Some CPU\nflags\t\t: {flags}\n")
    monkeypatch.setattr(environment, "_CPUINFO", cpuinfo)
    assert environment.has_fast_bf16("cpu") is fast


def test_a_system_that_does_not_say_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_CPUINFO", tmp_path / "none")
    assert environment.has_fast_bf16("cpu") is False
