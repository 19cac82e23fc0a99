"""bench/peaks.py: its JSON, and that it counts what it says."""

import json

import pytest
import torch


@pytest.fixture(scope="module")
def peaks(load_script):
    return load_script("peaks")


def test_smoke_run_writes_a_rate_for_the_copy_and_the_products(peaks, tmp_path, capsys):
    path = tmp_path / "peaks.json"
    assert peaks.main(["--smoke", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    rates = {row["name"]: row for row in result["rows"]}
    assert {"copy", "matmul float32"} <= set(rates)
    assert rates["copy"]["unit"] == "GB/s"
    copied = int(0.001 * 2**30) // 4 * 4
    seconds = rates["copy"]["ms"] / 1e3
    assert rates["copy"]["rate"] == pytest.approx(2 * copied / 1e9 / seconds)
    assert "matmul float32" in capsys.readouterr().out


def test_of_several_sizes_the_best_counts(peaks, monkeypatch):
    monkeypatch.setattr(
        peaks, "products", lambda size, device: {"product": lambda: None, f"only {size}": lambda: 0}
    )
    rates = {16: 1.0, 32: 4.0, 64: 2.0}  # of the products, in the order in which they are timed
    order = iter(rates)

    def timed(tasks, rounds, stopwatch):
        size = next(order)
        seconds = 2 * size**3 / 1e12 / rates[size]
        return {name: peaks.Times(seconds, seconds, seconds, rounds) for name in tasks}

    monkeypatch.setattr(peaks, "interleaved", timed)
    rows = {row["name"]: row for row in peaks.matrix_peaks([*rates], torch.device("cpu"), 3)}
    assert (rows["product"]["size"], rows["product"]["rate"]) == (32, pytest.approx(4.0))
    assert {row["size"] for row in rows.values()} == {16, 32, 64}


def test_products_are_on_random_data(peaks):
    for name, product in peaks.products(32, torch.device("cpu")).items():
        assert product().float().std() > 1, name
