"""Operations are those of what is computed, in whatever words a network says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.passes.spelled_out import COMPOUNDS
from tests.convert.nets import Net, converted, images
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


def border(h: Tensor) -> Tensor:
    """Zeros around feature maps, joined to them."""
    h = torch.cat([h.new_zeros(h.size(0), h.size(1), 1, h.size(3)), h], 2)
    h = torch.cat([h, torch.zeros_like(h[:, :, :1])], 2)
    return F.pad(h, (1, 1))


PADDINGS = {"layer": nn.ZeroPad2d(1), "function": lambda h: F.pad(h, (1,) * 4), "joined": border}
# `p` pads in front of every convolution.
PLACES = {
    "in each phase": lambda s, p, x: s.last(p(F.relu(s.second(p(F.relu(s.first(p(x)))))))),
    "behind a layer": lambda s, p, x: F.relu(s.last(p(s.second(p(F.relu(s.first(p(x)))))))),
    "before neurons": lambda s, p, x: s.last(F.relu(p(s.second(F.relu(p(s.first(p(x)))))))),
    "scaled and added": lambda s, p, x: F.relu(
        s.last(-2 * p(s.second(p(h := F.relu(s.first(p(x)))))) + p(h[:, :2]))
    ),
}


def padded(place: str, padding: Callable[[Tensor], Tensor] | None) -> list[tuple[object, ...]]:
    """The counts of a network whose convolutions pad for themselves, or are padded."""
    torch.manual_seed(0)
    own = int(padding is None)
    shapes = {"first": (2, 4), "second": (4, 2), "last": (2, 3)}
    layers = {name: nn.Conv2d(*shape, 3, padding=own) for name, shape in shapes.items()}
    pad = padding or (lambda h: h)
    snn, x = converted(Net(lambda s, x: PLACES[place](s, pad, x), **layers), T=3), images(2)
    with snn.monitor() as monitor:
        snn(x)
    return [astuple(row)[1:] for row in snn.operations(monitor).rows]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("place", PLACES)
def test_zeros_of_a_padding_count_nowhere(place: str, padding: str) -> None:
    """Those before a convolution as little as its own."""
    assert padded(place, PADDINGS[padding]) == padded(place, None)


def test_a_border_of_ones_is_no_padding_with_zeros() -> None:
    """The ANN multiplies all that 3 x 3 weights read at each of 4 x 4 pixels."""
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0] = 1
    layers = nn.ConstantPad2d(1, 1.0), nn.Conv2d(1, 2, 3)
    found = firing(Firing(1, *layers), x, T=4).rows[1]
    assert (found.accumulates, found.ann_macs) == (4 * 2 * 4, 2 * 16 * 9)
