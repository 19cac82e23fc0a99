"""bench/backward.py: its JSON, what it says of memory, and the red gate."""

import json

import pytest
import torch

import spikeconv
from gate import Contestant
from kept_for_backward import saved_by

FIGURES = ("ns_per_element", "q25", "q75", "times_clone")


@pytest.fixture(scope="session")
def backward(load_script):
    return load_script("backward")


def test_smoke_run_writes_the_promised_rows(smoke_run):
    result, _ = smoke_run("backward")
    assert result["refused"] == {}
    rows = {(row["dtype"], row["reset"], row["name"]): row for row in result["rows"]}
    ours = "spikeconv-cpp" if spikeconv.backends()["cpp"] is None else "spikeconv-reference"
    for dtype, bytes_ in (("float32", 4), ("bfloat16", 2)):
        for reset in ("soft", "hard"):
            for name in ("clone", ours, f"{ours}-own", "torch-loop", "torch-loop-compiled"):
                row = rows[dtype, reset, name]
                assert all(row[figure] > 0 for figure in FIGURES)
            # The current itself and a few numbers; a slope in float32 for a user's own surrogate.
            kept = rows[dtype, reset, ours]
            assert bytes_ <= kept["saved_bytes"] < bytes_ + 0.01
            assert kept["saved_beside_x"] < 0.01
            assert 4 <= rows[dtype, reset, f"{ours}-own"]["saved_beside_x"] < 4.01


@pytest.mark.spikingjelly
def test_nobody_keeps_less(backward):
    for dtype in (torch.float32, torch.bfloat16):
        for reset in ("soft", "hard"):
            problem = backward.pose(4, 1003, dtype, "cpu", reset)
            scans = backward.contestants(problem, ["reference"], "aot_eager")
            kept = {
                name: saved_by(lambda scan=scan, x=problem.x: scan(x), problem.x)
                for name, scan in scans.items()
            }
            ours = kept["spikeconv-reference"]
            for name in ("torch-loop", "spikingjelly"):
                assert ours.bytes <= kept[name].bytes + 16, (dtype, reset, name)
                assert ours.beside < kept[name].beside / 100, (dtype, reset, name)


def test_saved_by_counts_memory_once_and_tells_what_was_there():
    x = torch.ones(8, requires_grad=True)
    saved = saved_by(lambda: x * x, x)
    assert (saved.bytes, saved.beside) == (32, 0)
    saved = saved_by(lambda: x.exp() * 2.0, x)
    assert (saved.bytes, saved.beside) == (32, 32)
    assert saved_by(lambda: x.detach() * x.detach(), x).bytes == 0


def test_verdict_sees_a_wrong_gradient(backward):
    problem = backward.pose(4, 333, torch.float32, "cpu", "soft")
    scan = backward.ours("reference", "soft", backward.ATan(backward.ALPHA))
    wanted = problem.gradient(scan)
    contestant = Contestant("test", lambda: wanted)
    assert backward.verdict(problem, wanted, contestant, wanted.clone()) is None
    off = wanted.clone()
    off[2, 17] += 1e-4
    assert "is off by" in str(backward.verdict(problem, wanted, contestant, off))
    assert "wanted torch.float32" in str(
        backward.verdict(problem, wanted, contestant, wanted.double())
    )
    clone = Contestant("clone", problem.x.clone)
    assert backward.verdict(problem, wanted, clone, problem.x + 1) == "is no copy"


def test_a_wrong_contestant_makes_the_run_fail(backward, monkeypatch, tmp_path, capfd):
    def steeper(hard):
        return backward.ours("reference", "hard" if hard else "soft", backward.ATan(3.0))

    monkeypatch.setattr(backward, "torch_loop", steeper)
    path = tmp_path / "backward.json"
    status = backward.main(
        ["--smoke", "--dtypes", "float32", "--resets", "soft", "--json", str(path)]
    )
    result = json.loads(path.read_text())
    assert status == 1
    assert set(result["refused"]) == {
        "float32 soft torch-loop",
        "float32 soft torch-loop-compiled",
    }
    assert "torch-loop" not in {row["name"] for row in result["rows"]}
    assert "WRONG RESULT" in capfd.readouterr().err
