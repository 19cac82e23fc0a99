"""bench/integer.py: what it lets in, what it counts, and its JSON."""

from __future__ import annotations

import json

import pytest
import torch

from spikeconv.fuse.cpu import CpuEngine
from spikeconv.ops.native import instruction_sets


@pytest.fixture(scope="module")
def integer(load_script):
    return load_script("integer")


def test_smoke_run_writes_shares_of_the_bare_loop(integer, tmp_path, capsys):
    path = tmp_path / "integer.json"
    assert integer.main(["--smoke", "--isas", instruction_sets()[-1], "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert rows[0]["layer"] == "bare loop"
    assert rows[0]["peak"] == 1
    for row in rows[1:]:
        assert row["peak"] == pytest.approx(row["gmac_per_s"] / rows[0]["gmac_per_s"])
    shape = next(row for row in rows if row["layer"] == "16 -> 16, 32 x 32")
    products = 16 * 16 * 9 * 32 * 32 * 3  # one image, three steps
    assert shape["gmac_per_s"] == pytest.approx(products / shape["ms"] / 1e6)
    assert "least is reached by resnet20" in capsys.readouterr().out


def test_wrong_spikes_get_no_number(integer, tmp_path, monkeypatch, capsys):
    path = tmp_path / "integer.json"
    run_train = integer._train
    monkeypatch.setattr(integer, "_train", lambda engine, run: 1 - run_train(engine, run))
    assert integer.main(["--smoke", "--isas", instruction_sets()[-1], "--json", str(path)]) == 1
    written = json.loads(path.read_text())
    assert [row["layer"] for row in written["rows"]] == ["bare loop"]
    assert len(written["refused"]) == 2
    assert "WRONG RESULT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("precision", "passes", "dtype"),
    [("int8", 1, torch.int8), ("int16", 2, torch.int16), ("int24", 3, torch.int32)],
)
def test_networks_are_as_large_as_they_are_known(precision, passes, dtype):
    from integer_cases import residual_network

    builder, _, names = residual_network("resnet20", precision)
    # Six, six and six convolutions, and two projections; without stem and head.
    first = 6 * 9 * 16 * 16 * 32 * 32
    second = 9 * 16 * 32 * 16 * 16 + 5 * 9 * 32 * 32 * 16 * 16 + 16 * 32 * 16 * 16
    third = 9 * 32 * 64 * 8 * 8 + 5 * 9 * 64 * 64 * 8 * 8 + 32 * 64 * 8 * 8
    assert builder.products == passes * (first + second + third)
    assert len(names) == 19
    layers = builder.layers.values()
    assert {each.weight.dtype for found in layers for each in found.convolutions} == {dtype}


@pytest.mark.parametrize("name", ["resnet20", "resnet18"])
def test_neurons_of_chains_fire_as_often_as_those_of_converted_networks(name):
    from integer_cases import residual_network

    builder, encoder, names = residual_network(name, "int8")
    chain = CpuEngine(builder.program(), [encoder]).chain(names, counts=names)
    current = 0.25 * torch.rand(1, *builder.sources["stem"].shape)
    counts = chain.run({}, {"stem": current}, 16)
    rates = [counts[each].count.float().mean().item() / 16 for each in names]
    assert 0.1 < sum(rates) / len(rates) < 0.15
