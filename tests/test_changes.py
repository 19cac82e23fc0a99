"""What a watch over modules notices, and what it does not take for a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from spikeconv.changes import Watch
from spikeconv.neuron import IFNode

CHANGES: dict[str, Callable[[nn.Linear, IFNode], Any]] = {
    "in place": lambda layer, node: layer.weight.mul_(2),
    "in place, in inference mode": lambda layer, node: torch.inference_mode()(layer.bias.add_)(1),
    "loaded": lambda layer, node: layer.load_state_dict(nn.Linear(3, 2).state_dict()),
    "another dtype": lambda layer, node: layer.half(),
    "there and back": lambda layer, node: layer.half().float(),  # perhaps at the old address
    "a buffer": lambda layer, node: node.v_init.fill_(0.25),
    "a tensor of its own": lambda layer, node: setattr(node, "v_threshold", torch.tensor(3.0)),
    "an option": lambda layer, node: setattr(node, "fires", "gt"),
    "a backend": lambda layer, node: setattr(node, "backend", "reference"),
}


@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed_once(change: Callable[[nn.Linear, IFNode], Any]) -> None:
    layer, node, watch = nn.Linear(3, 2), IFNode(2.0, 1.0), Watch()
    assert watch.changed([layer, node])
    layer(torch.zeros(1, 3)), node(torch.zeros(4, 1))
    assert not watch.changed([layer, node])
    change(layer, node)
    assert watch.changed([layer, node])
    assert not watch.changed([layer, node])
    assert watch.changed([layer])
