"""bench/drop_in.py: its rows, its JSON, the red gate, and a library that is missing."""

import json

import pytest
import torch

import drop_in_cases

LIBRARIES = ["spikingjelly", "snntorch", "sinabs", "norse"]
ONE = ["--smoke", "--libraries", "spikingjelly"]


@pytest.fixture(scope="module")
def drop_in(load_script):
    return load_script("drop_in")


def test_smoke_run_writes_the_promised_rows(smoke_run):
    result, run = smoke_run("drop_in")
    assert result["refused"] == {}
    assert {row["library"] for row in result["rows"]} == set(LIBRARIES) - set(result["skipped"])
    for row in result["rows"]:
        assert row["faster"] == pytest.approx(row["before_ms"] / row["after_ms"])
        assert row["before_quartiles"][0] <= row["before_ms"] <= row["before_quartiles"][1]
        assert row["layer"] in run.stdout
    for library, reason in result["skipped"].items():
        assert f"not timed: {library}: {reason}" in run.stderr


@pytest.mark.spikingjelly
def test_every_mode_of_spikingjelly_has_a_row():
    device = torch.device("cpu")
    cases = [*drop_in_cases.layers("spikingjelly", 3, 5, device)]
    cases += drop_in_cases.network(2, 1, 8, device)
    assert {case.mode for case in cases} == {
        *("multi-step", "single-step", "multi-step training", "single-step training"),
    }
    assert {case.layer for case in cases if "Net" in case.layer} == {"ann2snn ResNet-20, batch 1"}
    assert len({case.key for case in cases}) == len(cases)


@pytest.mark.spikingjelly
def test_what_differs_has_no_row_and_makes_the_run_fail(drop_in, monkeypatch, tmp_path, capfd):
    def with_wrong_ones(library, T, neurons, device):
        for case in drop_in_cases.layers(library, T, neurons, device):
            if case.layer == "IFNode, hard reset":
                case.ours.v_threshold.mul_(0.5)
            yield case

    monkeypatch.setattr(drop_in, "layers", with_wrong_ones)
    monkeypatch.setattr(drop_in, "network", lambda *arguments: iter(()))
    path = tmp_path / "drop_in.json"
    assert drop_in.main([*ONE, "--json", str(path)]) == 1
    result = json.loads(path.read_text())
    assert result["refused"]
    assert all("IFNode, hard reset" in key for key in result["refused"])
    assert not [row for row in result["rows"] if row["layer"] == "IFNode, hard reset"]
    assert "WRONG RESULT, not timed: spikingjelly IFNode, hard reset" in capfd.readouterr().err


def test_the_processors_clock_is_for_one_thread(drop_in, monkeypatch, capfd):
    monkeypatch.setattr(drop_in, "missing", lambda library: "not there")
    assert drop_in.main(["--smoke", "--clock", "processor"]) == 0
    assert "processor time, medians of 2 rounds" in capfd.readouterr().out
    with pytest.raises(SystemExit):
        drop_in.main(["--smoke", "--clock", "processor", "--threads", "2"])
    assert "is for --device cpu and --threads 1" in capfd.readouterr().err


def test_a_missing_library_is_skipped_with_the_reason(drop_in, monkeypatch, capfd):
    monkeypatch.setattr(drop_in, "missing", lambda library: f"{library} is not there")
    assert drop_in.main(["--smoke"]) == 0
    errors = capfd.readouterr().err
    assert all(f"not timed: {name}: {name} is not there" in errors for name in LIBRARIES)


@pytest.mark.spikingjelly
def test_wrong_gradients_are_found(drop_in):
    device = torch.device("cpu")
    case = next(c for c in drop_in_cases.layers("spikingjelly", 4, 50, device) if c.training)
    with torch.no_grad():
        right = case.run(case.ours)
        assert drop_in._verdict(case, None, right) is None
        wrong = right.clone()
        wrong[1] *= 1.01
        assert "gradients differ by up to" in drop_in._verdict(case, None, wrong)
