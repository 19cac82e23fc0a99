"""bench/accuracy.py --combine: rows of a user's own, of any arguments of convert."""

import json

import pytest

from cells import Cells
from methods import own_method


def test_a_combination_is_measured_and_stands_in_the_table(accuracy, tiny, tmp_path):
    options = {"threshold": "percentile", "percentile": 99.0, "v_init": 0.25, "signed": True}
    command = ["--dataset", "digits", "--weights", f"tiny={tiny}", "--calibration-images", "32"]
    command += ["--limit", "40", "--T", "4", "--out", str(tmp_path)]
    command += ["--combine", f"mine={json.dumps(options | {'delay': 1})}"]
    assert accuracy.main(command) == 0
    (key, cell) = next((k, c) for k, c in Cells(tmp_path / "cells.jsonl") if k.T)
    assert (options | {"delay": 1}).items() <= key.settings.items()
    assert cell.before == 1
    rows = json.loads((tmp_path / "accuracy.json").read_text())["networks"]["tiny"]["methods"]
    assert list(rows) == ["mine"]
    assert "threshold percentile, percentile 99.0" in (tmp_path / "README.md").read_text()


def test_where_no_steps_are_left_to_read_nothing_is_measured():
    """2 + 1 + 1 steps come before the readout."""
    method = own_method('mine={"srp": 2, "cos": 1, "delay": 1}')
    assert method.before_in_words() == "4"
    assert [method.settings(T, None) is None for T in (2, 4, 5)] == [True, True, False]
    assert own_method('mine={"srp": "two"}').settings(1, None) is not None  # convert refuses it


def test_what_convert_refuses_is_one_line(accuracy, tiny, tmp_path, capfd):
    command = ["--dataset", "digits", "--weights", f"tiny={tiny}", "--calibration-images", "32"]
    command += ["--limit", "40", "--T", "4", "--out", str(tmp_path)]
    assert accuracy.main([*command, "--combine", 'mine={"threshold": "largest"}']) == 1
    assert "threshold must be one of" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mine", "wanted NAME=JSON"),
        ("mine=[1]", "wanted NAME=JSON"),
        ('a b={"srp": 1}', "wanted NAME=JSON"),
        ('opi={"srp": 1}', "opi is a method of the table"),
        ('mine={"T": 4, "sign": true}', "mine: wanted some of corrections, .*, got T, sign"),
    ],
)
def test_what_is_no_combination(text, says):
    with pytest.raises(ValueError, match=f"--combine: {says}"):
        own_method(text)
