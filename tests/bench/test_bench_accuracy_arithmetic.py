"""bench/accuracy.py --arithmetic: cells of integer programs, and cells whose weights are gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import scan
from accuracy_tables import methods
from cells import Cell, Cells, Key
from lookup import Results
from measure import measure
from methods import by_name
from spikeconv import convert
from spikeconv.data import load_dataset
from spikeconv.evaluate import evaluate
from spikeconv.models import load_model
from trained import NETWORKS, Network, trained_threshold

IMAGES = 40


def made_by(folder: Path) -> list[tuple[int, str, int]]:
    """T, arithmetic and right answers of every cell, in the order they were measured."""
    found = Cells(folder / "cells.jsonl")
    return [(key.T, cell.arithmetic, cell.correct) for key, cell in found]


def test_integer_cells_are_measured_marked_and_replaced_by_exact_ones(
    accuracy, tiny, tmp_path, monkeypatch
):
    command = ["--dataset", "digits", "--weights", f"tiny={tiny}", "--calibration-images", "32"]
    command += ["--limit", str(IMAGES), "--T", "4", "--out", str(tmp_path)]
    rows = ["--methods", "opi"]
    assert accuracy.main([*command, *rows, "--arithmetic", "int16"]) == 0

    data = load_dataset("digits")
    ann = load_model(tiny)
    settings = by_name("opi").settings(4, None)
    snn = convert(ann, data.train.sample(32, 0), T=4, progress=False, **settings)
    fused = evaluate(ann, snn.fuse("int16"), data.test.batches(50, IMAGES), progress=False)
    measured = made_by(tmp_path)
    assert [cell[:2] for cell in measured] == [(0, "float32"), (4, "int16")]
    assert measured[1][2] == round(fused.snn[-1] * IMAGES)
    text = (tmp_path / "README.md").read_text()
    share = f"{100 * fused.snn[-1]:.2f}"
    assert f"| _{share}_* |" in text
    assert "beside the simulation" not in text

    assert accuracy.main([*command, *rows]) == 0, "the simulation is more exact: measured again"
    assert [cell[:2] for cell in made_by(tmp_path)][2:] == [(4, "float32")]
    text = (tmp_path / "README.md").read_text()
    assert "### The integer program beside the simulation" in text
    assert f"| opi | 4 | {100 * made_by(tmp_path)[2][2] / IMAGES:.2f}* | _{share}_* |" in text

    monkeypatch.setattr(scan, "measure", None)
    assert accuracy.main([*command, *rows, "--arithmetic", "int8"]) == 0, "coarser: nothing to do"


def test_a_network_without_integer_layers_is_run_in_the_simulation_and_says_so():
    data = load_dataset("digits")
    ann = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 10))
    sample, images = data.train.sample(32, 0), data.test.batches(50, IMAGES)
    ann(sample)
    settings = by_name("opi").settings(4, None)
    cell = measure(ann, sample, images, 4, settings, 0, {}, lambda n: None, arithmetic="int16")
    assert cell.arithmetic == "float32"


def test_of_cells_on_as_many_images_the_most_exact_is_found_and_more_images_win():
    cells = Cells(None)
    key = Key("net", "hash", "digits", 10, 5, 0, 4)
    cells.add(key, Cell(5, 10))
    cells.add(key, Cell(6, 10, arithmetic="int8"))
    assert cells.best(key) == Cell(5, 10)
    assert cells.best(key, ["int16", "int8"]) == Cell(6, 10, arithmetic="int8")
    assert cells.best(key, ["int16"]) is None
    more = Cell(11, 20, arithmetic="int16")
    cells.add(Key("net", "hash", "digits", 20, 5, 0, 4), more)
    assert cells.best(key) == more


@pytest.mark.parametrize(
    ("images", "arithmetic", "there"),
    [
        (10, "float32", True),  # though the int16 cell on more images is the one in the table
        (20, "float32", False),
        (20, "int16", True),
        (20, "int8", True),
        (30, "int8", True),
        (30, "int16", False),
        (31, "int8", False),
    ],
)
def test_a_cell_is_missing_unless_there_is_one_on_as_many_images_and_as_exact(
    images: int, arithmetic: str, there: bool
):
    cells = Cells(None)
    for count, known in ((10, "float32"), (20, "int16"), (30, "int8")):
        cells.add(Key("net", "hash", "digits", count, 5, 0, 4), Cell(5, count, arithmetic=known))
    network = Network("net", "digits", Path("net.safetensors"), "a net")
    task = scan.Task(network, "opi", Key("net", "hash", "digits", images, 5, 0, 4), ())
    assert scan.missing([task], cells, arithmetic) == ([] if there else [task])


def test_a_cell_in_no_known_arithmetic_is_a_damaged_line(tmp_path):
    path = tmp_path / "cells.jsonl"
    Cells(path).add(Key("net", "hash", "digits", 10, 5, 0, 4), Cell(5, 10, arithmetic="int3"))
    with pytest.raises(ValueError, match=r"line 1: .*5 of 10 images right in int3"):
        Cells(path)


def test_cells_of_weights_that_are_not_here_stay_in_the_tables():
    network = Network("vgg", "digits", Path("vgg.safetensors"), "a VGG", trained="tcl")
    cells = Cells(None)
    for weights, trained, right in (("old", "qcfs", 3), ("new", "tcl", 8)):
        for images in (20, 10):
            ann = Key("vgg", weights, "digits", images, 5, 0)
            cells.add(ann, Cell(images - 1, images))
            for name in ("best", trained):
                key = scan.cell_key(ann, by_name(name), 4, trained)
                assert key is not None
                cells.add(key, Cell(images * right // 10, images))
    cells.add(Key("vgg", "another seed", "digits", 10, 5, 1), Cell(1, 10))
    results = Results(cells, [network], {}, {"vgg": "not there"}, 5, 0)
    assert (results.trained("vgg"), results.all_images("vgg")) == ("tcl", 20)
    table = methods(results, "vgg")
    assert table.count("80.00") == 4, "best, and tcl, which opi and half are; of the newest weights"
    assert "30.00" not in table
    content = results.to_dict()["vgg"]
    assert (content["weights_sha256"], content["ann"]) == ("new", 0.95)


def test_networks_say_what_their_weights_say():
    data = Path(__file__).parents[3] / "shared" / "data"
    there = [network for network in NETWORKS if network.missing(data) is None]
    shipped = {"resnet20-cifar10", "resnet20-cifar10-qcfs", "vgg16-cifar10-clip"}
    assert shipped <= {network.name for network in there}
    for network in there:
        assert trained_threshold(load_model(network.file(data))) == network.trained


def test_a_cell_that_is_measured_again_is_the_newest():
    cells = Cells(None)
    for weights in ("first", "second", "first"):
        cells.add(Key("net", weights, "digits", 10, 5, 0), Cell(1, 10))
    assert [key.weights for key in cells.newest("net", 0)] == ["first"]
    assert len(cells) == 2
