"""bench/kernels.py: its JSON, its contestants, and the red gate."""

import json

import pytest
import torch

import spikeconv
from gate import Contestant
from ours import EMITS, run
from rivals import functional_torch_loop, spikingjelly_if, torch_loop

FIGURES = ("ns_per_element", "times_clone", "gb_per_s", "copy_share", "q25", "q75")


@pytest.fixture
def x(kernels):
    return kernels.current(5, 333, torch.float32, "cpu")


def test_smoke_run_writes_the_promised_rows(smoke_run):
    result, run = smoke_run("kernels")
    assert result["refused"] == {}
    assert result["machine"]["omp_wait_policy"] is not None
    names = {(row["dtype"], row["emit"], row["name"]) for row in result["rows"]}
    ours = "spikeconv-cpp" if spikeconv.backends()["cpp"] is None else "spikeconv-reference"
    for dtype in ("float32", "bfloat16"):
        assert (dtype, "copy", "clone") in names
        assert (dtype, "spikes", "torch-loop") in names
        assert {(dtype, emit, ours) for emit in EMITS} <= names
    for row in result["rows"]:
        assert all(row[figure] > 0 for figure in FIGURES)
        assert row["q25"] <= row["ns_per_element"] <= row["q75"]
        assert row["name"] in run.stdout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scan", [torch_loop, functional_torch_loop])
def test_torch_loops_equal_the_reference(kernels, scan, dtype):
    x = kernels.current(9, 1003, dtype, "cpu")
    spikes, _ = spikeconv.if_multistep(x, backend="reference")
    assert torch.equal(scan(x), spikes)
    assert 0.1 < spikes.float().mean() < 0.5


@pytest.mark.spikingjelly
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_spikingjelly_equals_the_reference_also_when_called_again(kernels, dtype):
    x = kernels.current(9, 1003, dtype, "cpu")
    spikes, _ = spikeconv.if_multistep(x, backend="reference")
    scan = spikingjelly_if(dtype)
    with torch.no_grad():
        assert torch.equal(scan(x), spikes)
        assert torch.equal(scan(x), spikes)


def test_verdict_sees_one_wrong_spike_a_wrong_dtype_and_a_wrong_copy(kernels, x):
    spikes = run(x, "reference", "spikes")
    contestant = Contestant("test", lambda: spikes, "spikes")
    assert kernels.verdict(x, contestant, spikes) is None
    flipped = spikes.clone()
    flipped[3, 17] = 1 - flipped[3, 17]
    assert "differs from the reference" in str(kernels.verdict(x, contestant, flipped))
    assert "wanted torch.float32" in str(kernels.verdict(x, contestant, spikes.double()))
    assert kernels.verdict(x, Contestant("clone", x.clone, "copy"), x + 1) is not None


def test_wrong_contestant_has_no_row_and_makes_the_run_fail(kernels, monkeypatch, tmp_path, capfd):
    def late_by_one_step(x):
        return torch_loop(x.roll(1, 0))

    monkeypatch.setattr(kernels, "torch_loop", late_by_one_step)
    path = tmp_path / "kernels.json"
    status = kernels.main(["--smoke", "--dtypes", "float32", "--json", str(path)])
    result = json.loads(path.read_text())
    assert status == 1
    assert list(result["refused"]) == ["float32 torch-loop spikes"]
    assert "torch-loop" not in {row["name"] for row in result["rows"]}
    assert "WRONG RESULT" in capfd.readouterr().err


def test_useful_bytes_count_what_is_written(kernels):
    assert kernels.useful_bytes(16, 10, 2, "copy") == 2 * 16 * 10 * 2
    assert kernels.useful_bytes(16, 10, 2, "uint8") == 16 * 10 * 3
    assert kernels.useful_bytes(16, 10, 4, "count") == 16 * 10 * 4 + 10 * 4


def test_words_hold_32_steps(kernels, capsys):
    """More are an error where words are asked for, and else words are left out."""
    with pytest.raises(SystemExit):
        kernels.main(["--emits", "words", "--T", "33"])
    assert "--emits words holds at most 32 steps, got --T 33" in capsys.readouterr().err
    assert [kernels._parse(["--T", T]).emits for T in ("32", "33")] == [
        list(EMITS),
        [emit for emit in EMITS if emit != "words"],
    ]
