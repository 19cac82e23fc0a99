"""The libraries that our neurons replace, where they are installed; inputs that tell them apart."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv import replace_neurons
from tests.ops.cases import currents

SHAPES = [(2, 5), (3, 5, 4), (2, 5, 3, 4)]
"""One step's, with five channels in dimension 1."""


def library(name: str) -> Any:
    """A module of a library, or None where that is not installed: its tests carry a mark."""
    return import_module(name) if find_spec(name.partition(".")[0]) else None


def steps(*shape: int, T: int = 7, seed: int = 0) -> Tensor:
    """Currents [T, *shape]; half of them are eighths, so that potentials meet thresholds."""
    return currents(T, *shape, seed=seed) + 0.125


def replaced(module: nn.Module) -> Any:
    """A copy with our neurons, all of them."""
    twin = copy.deepcopy(module)
    report = replace_neurons(twin)
    assert report.replaced, report
    assert not report.left, report
    return twin


def reasons(module: nn.Module) -> list[str]:
    """Why the neuron layers of a module are left; none of it may be replaced."""
    report = replace_neurons(module)
    assert not report.replaced, report
    return [layer.why for layer in report.left]


def assert_equal(mine: Any, theirs: Any) -> None:
    """The same bits (0 is -0), dtypes and types, through tuples and dicts."""
    assert type(mine) is type(theirs)
    if isinstance(theirs, Tensor):
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)
    elif isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key in theirs:
            assert_equal(mine[key], theirs[key])
    elif isinstance(theirs, Iterable):
        for a, b in zip(mine, theirs, strict=True):
            assert_equal(a, b)
    else:
        assert mine == theirs


def gradients(module: nn.Module, x: Tensor, call: Any) -> tuple[Tensor, Tensor]:
    """Spikes of a call, and what a weighted sum of them says of x."""
    x = x.clone().requires_grad_()
    spikes: Tensor = call(module, x)
    weights = torch.linspace(0.5, 1.5, spikes.numel()).view_as(spikes)
    (spikes * weights).sum().backward()
    assert x.grad is not None
    return spikes.detach(), x.grad
