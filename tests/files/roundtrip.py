"""What every file of a network must give back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import spikeconv
from spikeconv.convert import SpikingNetwork
from spikeconv.network.structure import map_tensors, tensors
from tests.helpers import assert_same


def assert_equal_networks(actual: SpikingNetwork, wanted: SpikingNetwork, *x: Tensor) -> None:
    """The same class, parameters, program and report, and the same bits of every output."""
    assert type(actual) is type(wanted)
    assert str(actual) == str(wanted)
    assert (actual.T, actual.timing) == (wanted.T, wanted.timing)
    assert repr(actual.report()) == repr(wanted.report())  # NaN is NaN here
    assert actual.program.steps == wanted.program.steps
    assert list(actual.state_dict()) == list(wanted.state_dict())
    for name, value in wanted.state_dict().items():
        assert_same(actual.state_dict()[name], value, name)
        assert actual.state_dict()[name].stride() == value.stride(), name
    assert not any(parameter.requires_grad for parameter in actual.parameters())
    assert not actual.training
    for call in (
        lambda net: net(*x),
        lambda net: net(*x, readout="all"),
        lambda net: net(*x, T=net.T + 3),
        lambda net: net.analog(x[0] if len(x) == 1 else x),
    ):
        assert_equal_outputs(call(actual), call(wanted))


def assert_equal_outputs(actual: Any, wanted: Any) -> None:
    """Outputs of one structure, with equal bits."""
    map_tensors(lambda y, z: assert_same(y, z) or y, wanted, actual)
    assert len(list(tensors(actual))) == len(list(tensors(wanted))) > 0


def reloaded(snn: SpikingNetwork, folder: Path) -> SpikingNetwork:
    """The network after a way through a file, with the random numbers left as they were."""
    snn.save(folder / "snn.safetensors")
    state = torch.get_rng_state()
    again = spikeconv.load(folder / "snn.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    return again
