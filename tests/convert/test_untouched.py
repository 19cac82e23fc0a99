"""The network that was converted still runs, and converting does not mind what a run left in it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from spikeconv import ConversionError, convert


def test_parametrized_layers_stay_parametrized() -> None:
    ann = nn.Sequential(
        weight_norm(nn.Conv2d(2, 3, 3)), nn.ReLU(), nn.Flatten(), spectral_norm(nn.Linear(48, 4))
    ).eval()
    x = torch.randn(4, 2, 6, 6)
    wanted = ann(x)
    snn = convert(ann, x, T=4, progress=False)
    assert torch.equal(ann(x), wanted)
    torch.testing.assert_close(snn.analog(x), wanted)


class _Keeping(nn.Module):
    """Keeps an activation, and with it a gradient's history, as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.relu, self.head = nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)
        self.features: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.features = self.relu(self.body(x))
        return self.head(self.features)


def test_a_network_that_has_run_with_gradients() -> None:
    ann, x = _Keeping(), torch.randn(8, 4)
    wanted = ann(x)
    torch.testing.assert_close(convert(ann, x, T=4, progress=False).analog(x), wanted)


def test_random_numbers_go_on_where_they_were() -> None:
    """Whatever is made, counted or drawn for it, what torch.rand gives next is what it gave."""
    ann = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    x = torch.randn(8, 2, 6, 6)
    before = torch.get_rng_state()
    snn = convert(ann, x, T=2, v_init="uniform", progress=False)
    snn.report(x)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_numbers_go_on_after_a_refusal() -> None:
    """A network that drops values at inference has drawn some by then."""

    class Drops(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x.relu(), 0.5)

    x, before = torch.rand(4, 3), torch.get_rng_state()
    with pytest.raises(ConversionError, match="drops values at inference"):
        convert(Drops(), x, T=2, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
