"""Memory, JSON, table, machine line and the gate."""

import doctest
import json
import sys

import pytest
import torch

from gate import Contestant, Gate, first_line
from machine import machine_facts, machine_line
from memory import peak_memory_mb
from report import table, write_json
from spikeconv.allocator import keep_freed_memory

CPU = torch.device("cpu")
RESIDENT_PAGES_MB = 3.0  # the kernel counts a process's pages in batches on each processor


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's high-water mark")
@pytest.mark.parametrize("mb", [8, 64])
def test_peak_memory_counts_what_a_call_holds_at_once(mb):
    x = torch.zeros(mb, 1_000_000 // 4)

    def two_copies():
        return (x + 1) * 2

    two_copies()
    peak = peak_memory_mb(two_copies, CPU)
    assert peak is not None
    assert peak == pytest.approx(2 * mb, abs=RESIDENT_PAGES_MB)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's high-water mark")
def test_peak_memory_is_not_hidden_by_what_malloc_holds():
    assert keep_freed_memory()
    x = torch.zeros(64, 1_000_000 // 4)
    for _ in range(2):
        peak = peak_memory_mb(x.clone, CPU)
        assert peak is not None
        assert peak == pytest.approx(64, abs=RESIDENT_PAGES_MB)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "result.json"
    write_json(path, {"rows": [1]})
    with pytest.raises(TypeError):
        write_json(path, {"rows": [object()]})
    assert json.loads(path.read_text()) == {"rows": [1]}
    assert [file.name for file in path.parent.iterdir()] == ["result.json"]


def test_table_aligns_and_marks_what_is_missing():
    rows = [{"name": "ours", "ms": 1.5}, {"name": "theirs", "ms": None}]
    assert table(rows, ["name", "ms"]).splitlines() == [
        "name       ms",
        "ours    1.500",
        "theirs      -",
    ]


def test_machine_facts_fit_into_json_and_one_line():
    facts = machine_facts(CPU)
    assert json.loads(json.dumps(facts)) == facts
    line = machine_line(facts)
    assert "\n" not in line
    assert str(facts["machine"]) in line
    assert torch.__version__ in line
    assert ", 1 thread, " in str(facts["machine"])


def judge(contestant, output):
    return None if bool(output.all()) else "not all true"


def missing_compiler():
    raise RuntimeError("backend='inductor' raised:\nno C++ compiler")


def test_gate_refuses_a_wrong_contestant_and_admits_a_right_one():
    gate = Gate()
    right = Contestant("right", lambda: torch.ones(2), "spikes")
    wrong = Contestant("wrong", lambda: torch.zeros(2), "spikes")
    gate.pass_all([right, wrong], judge)
    assert gate.admitted == [right]
    assert gate.refused == {"wrong spikes": "not all true"}
    assert "WRONG RESULT, not timed: wrong spikes: not all true" in gate.report()


def test_gate_skips_only_what_may_be_missing():
    gate = Gate()
    gate.pass_all([Contestant("compiled", missing_compiler, may_be_missing=True)], judge)
    assert gate.skipped == {"compiled": "RuntimeError: no C++ compiler"}
    assert not gate.refused
    with pytest.raises(RuntimeError, match="inductor"):
        gate.pass_all([Contestant("ours", missing_compiler)], judge)


def test_gate_skips_who_needs_more_memory_than_a_gpu_has():
    def too_large():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB")

    gate = Gate()
    gate.pass_all([Contestant("ours", too_large)], judge)
    assert gate.skipped == {"ours": "OutOfMemoryError: CUDA out of memory. Tried to allocate 1 TiB"}


def test_an_error_without_a_message_is_named():
    assert first_line(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize("script", ["timing", "report", "gate", "kernels"])
def test_examples_in_docstrings(load_script, script):
    result = doctest.testmod(load_script(script))
    assert result.attempted > 0
    assert result.failed == 0
