"""Runs of the GPU's networks that go on where earlier ones ended."""

import pytest

from tests.bench.gpu_runs import networks as networks
from tests.bench.gpu_runs import smoke as smoke


def test_what_is_there_is_not_measured_again(smoke, networks, monkeypatch):
    _, first = smoke("--rounds", "1")
    asked = []
    measure = networks.measure
    monkeypatch.setattr(
        networks, "measure", lambda *given: asked.append(str(given[2])) or measure(*given)
    )
    _, again = smoke("--rounds", "1")
    assert asked == []
    assert again["tables"] == first["tables"]
    _, fresh = smoke("--rounds", "1", "--fresh")
    assert len(asked) == len(fresh["tables"]) == 2
    monkeypatch.setattr(
        networks, "machine_facts", lambda device: {**again["machine"], "commit": "x"}
    )
    monkeypatch.setattr(networks, "machine_line", str)
    smoke("--rounds", "1")  # another commit's numbers are measured anew
    assert len(asked) == 4


def test_out_of_time_nothing_new_begins(smoke, networks, tmp_path, capsys):
    with pytest.raises(FileNotFoundError):  # nothing was measured, so nothing is written
        smoke("--minutes", "0")
    path = tmp_path / "nothing.json"
    none = ["--device", "cpu", "--smoke", "--minutes", "0", "--json", str(path)]
    assert networks.main(none) == networks.PARTLY
    assert "out of time before resnet20-2px-b2-T3" in capsys.readouterr().out


def test_what_was_cut_short_is_measured_again_where_there_is_more_time(
    smoke, networks, monkeypatch
):
    measure = networks.measure
    asked = []

    def ends(ann, snn, setting, *more):
        asked.append(setting.batch)
        found = measure(ann, snn, setting, *more)
        if len(asked) == 1:
            found["refused"] = {"spikeconv": "other classes"}
        elif len(asked) == 2:
            found["skipped"]["ann-bf16"] = networks.OUT_OF_TIME
        elif len(asked) == 3:
            raise RuntimeError("CUDA out of memory")
        return found

    monkeypatch.setattr(networks, "measure", ends)
    rows = 0
    for minutes, batches in ((1, [2, 3]), (1, []), (5, [3]), (5, [])):
        before = len(asked)
        status, result = smoke("--rounds", "1", "--minutes", str(minutes))
        assert status == 1  # what was wrong stays wrong
        assert asked[before:] == batches
        (_, cut) = result["tables"].values()
        assert len(cut["rows"]) >= max(1, rows)  # an error takes no numbers along
        rows = len(cut["rows"])


def test_what_failed_comes_last(smoke, networks, monkeypatch):
    measure = networks.measure
    asked = []

    def fails(ann, snn, setting, *more):
        asked.append(setting.batch)
        found = measure(ann, snn, setting, *more)
        if setting.batch == 2 and len(asked) < 3:
            raise RuntimeError("CUDA error: misaligned address")
        if setting.batch == 3 and len(asked) < 3:
            found["skipped"]["ann-bf16"] = networks.OUT_OF_TIME
        return found

    monkeypatch.setattr(networks, "measure", fails)
    assert smoke("--rounds", "1", "--minutes", "1")[0] == 1
    status, result = smoke("--rounds", "1", "--minutes", "5")
    assert (status, asked) == (0, [2, 3, 3, 2])
    assert not any("error" in table for table in result["tables"].values())
