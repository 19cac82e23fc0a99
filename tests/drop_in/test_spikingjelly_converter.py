"""SpikingJelly 2.0.0: networks that its own converter made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode
from tests.drop_in.libraries import assert_equal, library, replaced

pytestmark = pytest.mark.spikingjelly

functional: Any = library("spikingjelly.activation_based.functional")
ann2snn: Any = library("spikingjelly.activation_based.ann2snn")


class Body(nn.Module):
    """A little of everything that a converted network may hold, with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.second_relu = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 10))

    def forward(self, x: Tensor) -> Tensor:
        first = self.relu(self.norm(self.conv(x)))
        out: Tensor = self.head(self.pool(self.second_relu(self.second(first) + first)))
        return out


RECIPES: dict[str, dict[str, Any]] = {
    "maximum": {},
    "percentile": {"mode": "99.9%"},
    "channels": {"mode": "Max", "channel_wise": True},
    "half threshold": {"mode": "99.9%", "channel_wise": True, "half_threshold": True},
}


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("recipe", [*RECIPES, "balanced"])
def test_a_network_of_their_converter_has_equal_logits(recipe: str, step_mode: str) -> None:
    torch.manual_seed(0)
    ann = Body().eval()
    loader = [(torch.rand(4, 3, 8, 8), torch.zeros(4)) for _ in range(2)]
    if recipe == "balanced":
        rule = ann2snn.LocalThresholdBalancingRecipe(loader)
    else:
        rule = ann2snn.RateCodingRecipe(loader, **RECIPES[recipe])
    theirs = ann2snn.Converter(rule).convert(ann).eval()
    mine = replaced(theirs)
    assert sum(isinstance(module, IFNode) for module in mine.modules()) == 2
    images = torch.rand(5, 3, 8, 8)
    outputs = []
    with torch.no_grad():
        for net in (theirs, mine):
            functional.set_step_mode(net, step_mode)
            functional.reset_net(net)
            if step_mode == "s":
                outputs.append(torch.stack([net(images) for _ in range(8)]))
            else:
                outputs.append(net(images.expand(8, *images.shape)))
    assert outputs[0].abs().max() > 0
    assert_equal(outputs[1], outputs[0])
