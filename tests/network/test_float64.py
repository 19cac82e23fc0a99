"""Networks in float64: what they answer is so to the last digits, as the naive simulation says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from spikeconv import IFNode
from spikeconv.convert import NaiveSimulation, SpikingNetwork
from spikeconv.network.naive import TorchIF
from spikeconv.network.structure import map_tensors, tensors
from tests.convert.bodies import NETWORKS
from tests.convert.nets import converted, images, relative_error

ROUNDING = 1e-14


both_thresholds = pytest.mark.parametrize("thresholds", [torch.float32, torch.float64])


def in_float64(name: str, thresholds: torch.dtype, **options: Any) -> tuple[SpikingNetwork, Tensor]:
    """A network whose weights no float32 holds, and images; conversion makes float32 thresholds."""
    snn = converted(NETWORKS[name]().double(), images(32).double(), T=7, **options)
    for node in snn.populations().values():
        node.to(thresholds)
        node.v_threshold.mul_(1 + 1e-9)
    return snn, images(4).double() / 3


@both_thresholds
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_the_answer_is_the_naive_simulations(name: str, thresholds: torch.dtype) -> None:
    snn, x = in_float64(name, thresholds)
    naive = NaiveSimulation(snn)
    assert relative_error(snn(x), naive(x)) < ROUNDING
    assert relative_error(snn(x, readout="all"), naive(x, readout="all")) < ROUNDING


@both_thresholds
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_signed_spikes_and_a_stream_answer_so_too(name: str, thresholds: torch.dtype) -> None:
    snn, x = in_float64(name, thresholds, signed=True)
    wanted = NaiveSimulation(snn)(x, readout="all")
    stream = snn.stream()
    for t in range(snn.T):
        answer = stream.step(x) if t == 0 else stream.step()
        assert all(tensor.dtype == torch.float64 for tensor in tensors(answer))
        assert relative_error(answer, map_tensors(lambda y, t=t: y[t], wanted)) < ROUNDING


@both_thresholds
@torch.no_grad()
def test_steps_before_the_readout_leave_it_exact(thresholds: torch.dtype) -> None:
    """A delay's chunks are trains, summed over time from where it ends."""
    snn, x = in_float64("pool in time", thresholds, delay=2)
    assert relative_error(snn(x), map_tensors(lambda y: y[-1], snn(x, readout="all"))) < ROUNDING


def test_naive_neurons_keep_what_float32_would_round_to_a_spike() -> None:
    x = torch.tensor([1 - 1e-12, 1.0], dtype=torch.float64)
    step_bias = torch.tensor([[0.0, -1e-12]], dtype=torch.float64)
    for node, wanted in ((IFNode(1.0), [0, 1]), (IFNode(1.0, 0, 0, step_bias=step_bias), [0, 0])):
        assert TorchIF(node)(x).tolist() == node(x, 1)[0].tolist() == wanted
