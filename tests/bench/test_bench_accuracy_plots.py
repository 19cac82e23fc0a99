"""The curves of bench/accuracy.py: no two of a panel look the same."""

from __future__ import annotations

from accuracy_plots import looks
from methods import METHODS


def test_no_two_curves_of_a_panel_look_the_same():
    for family in {method.family for method in METHODS}:
        names = [method.name for method in METHODS if method.family == family]
        assert len(set(looks(names).values())) == len(names)
    assert len(set(looks([str(i) for i in range(24)]).values())) == 24


def test_a_threshold_keeps_its_colour_and_an_initialisation_its_style():
    found = looks(["max/zero", "max/rts", "mse/zero", "mse/rts"])
    assert found["max/zero"][0] == found["max/rts"][0] != found["mse/zero"][0]
    assert found["max/zero"][1] == found["mse/zero"][1] != found["max/rts"][1]
