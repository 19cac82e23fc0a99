"""What a watch over modules notices, and what it does not take for a change."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from spikeconv.changes import Watch, version
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


def test_another_tensor_is_another_version_wherever_it_lies() -> None:
    """A tensor that nobody else holds is freed, and the next one often has its id."""
    for _ in range(50):
        before = version(torch.ones(4))
        assert before != version(torch.ones(4))
    kept = torch.ones(4)
    before = version(kept)
    assert before == version(kept)
    assert copy.deepcopy(before) != before
    assert pickle.loads(pickle.dumps(before)) != before


def test_thresholds_that_were_set_twice_are_looked_at() -> None:
    node = IFNode(torch.ones(4), step_mode="s")
    for _ in range(20):
        node.v_threshold = torch.ones(4)
        node(torch.rand(4))
        node.v_threshold = torch.full((4,), -2.0)
        node.v_threshold = torch.full((4,), -1.0)
        with pytest.raises(ValueError, match="v_threshold must be positive"):
            node(torch.zeros(4))
