"""Which layer stands before a population so that its weights can make up for what that lacks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert.feeding import feeding_layers, head
from tests.convert.nets import Body, Net, converted


def fed(body: Body, **layers: Any) -> list[str | None]:
    """For every population in order, where in the network the layer that feeds it stands."""
    snn = converted(Net(body, **layers))
    feeding = feeding_layers(snn.program, snn.layers)
    steps = (feeding.get(step.name) for step in snn.program.neurons())
    return [None if step is None else step.label for step in steps]


def first(s: Net, x: Tensor) -> Tensor:
    return F.relu(s.c1(x))


BODIES: dict[str, tuple[Body, list[str | None]]] = {
    "the first layer sees no spikes": (lambda s, x: s.head(first(s, x)), [None]),
    "one after the other": (lambda s, x: s.head(F.relu(s.c2(first(s, x)))), [None, "c2"]),
    "named": (lambda s, x: s.head(F.relu(s.c2(input=first(s, x)))), [None, "c2"]),
    "and a constant": (lambda s, x: s.head(F.relu(s.c2(first(s, x)) + 0.5)), [None, "c2"]),
    "scaled": (lambda s, x: s.head(F.relu(s.c2(first(s, x)) * 0.5)), [None, None]),
    "scaled addition": (
        lambda s, x: s.head(F.relu(torch.add(s.c1(x), s.c2(first(s, x)), alpha=2))),
        [None, None],
    ),
    "subtracted": (lambda s, x: s.head(F.relu(s.c1(x) - s.c2(first(s, x)))), [None, None]),
    "pooled": (lambda s, x: s.head(F.relu(F.avg_pool2d(s.c2(first(s, x)), 2))), [None, None]),
}


@pytest.mark.parametrize("name", BODIES)
def test_layers(name: str) -> None:
    body, wanted = BODIES[name]
    assert fed(body) == wanted


def test_residual() -> None:
    """The layer of the branch; of a shortcut's and a branch's layer the one that is added first."""

    def identity(s: Net, x: Tensor) -> Tensor:
        h = first(s, x)
        return s.head(F.relu(s.c2(h) + h))

    def shortcut(s: Net, x: Tensor) -> Tensor:
        h = first(s, x)
        return s.head(F.relu(h + (s.short(h) + s.c2(h))))

    assert fed(identity) == [None, "c2"]
    assert fed(shortcut, short=nn.Conv2d(4, 4, 1)) == [None, "short"]


def test_pre_activation() -> None:
    """A sum that the next block reads too is no population's alone: changes would go on there."""

    def body(s: Net, x: Tensor) -> Tensor:
        h = s.c1(x)
        y = s.c2(F.relu(h)) + h
        return s.head(F.relu(s.c3(F.relu(y)) + y))

    assert fed(body, c3=nn.Conv2d(4, 4, 1)) == [None, None, "c3"]


def test_a_layer_with_two_readers_or_in_the_output() -> None:
    def two(s: Net, x: Tensor) -> Tensor:
        h = s.c2(first(s, x))
        return s.head(F.relu(h) + F.relu(h + 1))

    def output(s: Net, x: Tensor) -> Any:
        h = s.c2(first(s, x))
        return s.head(F.relu(h)), h

    assert fed(two) == [None, None, None]
    assert fed(output) == [None, None]


def test_concatenation() -> None:
    def body(s: Net, x: Tensor) -> Tensor:
        h = first(s, x)
        return s.head(F.relu(torch.cat([s.c2(h), h], 1))[:, :4])

    assert fed(body) == [None, None]


def test_a_layer_that_is_called_twice_is_two() -> None:
    net = Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c2(first(s, x)))))))
    snn = converted(net, corrections=("weights",), T=2)
    assert fed(net.body) == [None, "c2", "c2 (2)"]
    assert set(snn.originals) >= {"c2", "c2_1"}
    assert not torch.equal(snn.layers["c2"].weight, snn.layers["c2_1"].weight)


def test_an_output_that_is_spread_over_more_neurons() -> None:
    """Its weights have one value for many neurons' currents."""

    def body(s: Net, x: Tensor) -> Tensor:
        h = first(s, x)
        return s.head(F.relu(s.c2(F.adaptive_avg_pool2d(h, 1)) + h))

    assert fed(body, c2=nn.Conv2d(4, 4, 1)) == [None, None]


HEADS: dict[str, tuple[Body, bool]] = {
    "alone": (lambda s, x: s.head(first(s, x)), True),
    "scaled": (lambda s, x: s.head(first(s, x)) * 2, False),
    "ends in neurons": (lambda s, x: F.relu(s.c2(first(s, x))), False),
    "one of several": (lambda s, x: (s.head(first(s, x)), x), False),
    "named": (lambda s, x: s.fc(input=first(s, x).mean((2, 3))), True),
}


@pytest.mark.parametrize("name", HEADS)
def test_head(name: str) -> None:
    body, there = HEADS[name]
    snn = converted(Net(body))
    found = head(snn.program, snn.layers)
    assert (found.label if found else None) == ("fc" if there else None)
