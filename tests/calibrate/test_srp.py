"""SRP's mask, by hand."""

from __future__ import annotations

import torch

from spikeconv.calibrate.srp import silenced


def test_by_hand() -> None:
    """Above a thousandth of theta fires on; at it, below it, at 0 and in debt is silent."""
    theta = torch.tensor(8.0)
    v = torch.tensor([-4.0, 0.0, 0.0078125, theta.item() * 1e-3, 0.0081, 4.0, 9.0])
    assert silenced(v, theta).tolist() == [True, True, True, True, False, False, False]


def test_theta_of_each_channel_decides() -> None:
    """0.002 is above a thousandth of 1 and below one of 4; every image has its own mask."""
    theta = torch.tensor([1.0, 4.0]).view(2, 1)
    v = torch.tensor([[[0.002], [0.002]], [[-1.0], [1.0]]])
    assert silenced(v, theta).flatten(1).tolist() == [[False, True], [True, False]]


def test_broken_neurons_are_silent() -> None:
    v = torch.tensor([float("nan"), -torch.inf, torch.inf])
    assert silenced(v, torch.tensor(1.0)).tolist() == [True, True, False]
