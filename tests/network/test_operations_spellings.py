"""Operations are those of what is computed, in whatever words a network says it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from spikeconv.passes.spelled_out import COMPOUNDS
from tests.network.test_operations import Firing, firing


@pytest.mark.parametrize("of_an_earlier_version", (False, True))
@pytest.mark.parametrize("alpha", (1, 4, 0.25))
def test_a_scale_of_a_product_reaches_no_more_weights(
    alpha: float, of_an_earlier_version: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pixels of four fire at each of three steps, and reach 7 outputs each."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(4, 7)), nn.Parameter(torch.ones(7))

        def forward(self, x: Tensor) -> Tensor:
            return torch.addmm(self.bias, x.flatten(1), self.weight, beta=3, alpha=alpha)

    if of_an_earlier_version:  # whose files hold the function itself
        monkeypatch.delitem(COMPOUNDS, torch.addmm)
    x = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    found = firing(Firing(1, Scaled()), x, T=3).rows[1]
    assert (found.spikes, found.accumulates, found.macs, found.ann_macs) == (6, 42, 0, 28)


def test_a_product_that_is_added_to_a_signal() -> None:
    """Each of 2 spikes a step reaches 5 outputs of the layer and 5 of the product beside it."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.weight = nn.Linear(4, 5), nn.Parameter(torch.ones(4, 5))

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return torch.addmm(self.layer(x), x, self.weight)

    x = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    _, *found = firing(Firing(1, Residual()), x, T=3).rows
    assert [(row.accumulates, row.macs, row.ann_macs) for row in found] == [(30, 0, 20)] * 2


def test_nearest_upsampling_copies_spikes() -> None:
    """A pixel becomes four, each read by 3 channels; bilinearly, all of 16 have a current."""
    x = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    for mode, counts in {"nearest": (16, 48, 0), "bilinear": (0, 0, 4 * 16 * 3)}.items():
        layers = nn.Upsample(scale_factor=2, mode=mode), nn.Conv2d(1, 3, 1)
        found = firing(Firing(1, *layers), x, T=4).rows[1]
        assert (found.spikes, found.accumulates, found.macs) == counts
