"""Time in chunks, batches in parts: the same spikes and the same outputs, bit for bit."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikeconv.convert import SpikingNetwork
from spikeconv.network import limits
from spikeconv.network.layers import PoolState, temporal_max_pool
from spikeconv.network.monitor import CountedRun
from spikeconv.network.structure import map_tensors
from spikeconv.network.timing import Stage
from tests.convert.bodies import NETWORKS
from tests.convert.nets import (
    Net,
    assert_same_output,
    assert_same_running,
    converted,
    dyadic,
    images,
)
from tests.helpers import assert_same

T = 8

each_network = pytest.mark.parametrize("name", NETWORKS)
each_size = pytest.mark.parametrize("at_once", (1, 2, 3, 7))
both_signs = pytest.mark.parametrize("signed", (False, True), ids=("unsigned", "signed"))


def limit(monkeypatch: pytest.MonkeyPatch, snn: SpikingNetwork, x: Tensor, at_once: int) -> None:
    """Let so many steps run together on x."""
    widest = snn.program.widest * math.prod(x.shape[1:]) // math.prod(snn.program.input_shape)
    monkeypatch.setattr(limits, "_VALUES_AT_ONCE", widest * len(x) * at_once)
    assert snn.steps_at_once(x, 4) == at_once


def trains(snn: SpikingNetwork, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Every neuron layer's spikes `[T, B, *]`, as -1, 0 and 1, of the whole run."""
    parts: dict[str, list[Tensor]] = {}
    with monkeypatch.context() as patch:
        patch.setattr(
            CountedRun,
            "add",
            lambda self, name, train, unread: parts.setdefault(name, []).append(train),
        )
        with snn.monitor(keep_counts=True):
            snn(x, T=T)
    return {name: torch.cat(trains).sign() for name, trains in parts.items()}


@each_network
@each_size
@both_signs
@pytest.mark.parametrize("readout", ("mean", "all"))
def test_output(
    name: str, at_once: int, signed: bool, readout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snn, x = dyadic(NETWORKS[name](), signed=signed), images(3)
    whole = snn(x, T=T, readout=readout)
    limit(monkeypatch, snn, x, at_once)
    same = assert_same_output if readout == "mean" else assert_same_running
    same(snn(x, T=T, readout=readout), whole)


@each_network
@both_signs
def test_spikes(name: str, signed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    snn, x = dyadic(NETWORKS[name](), signed=signed), images(3)
    whole = trains(snn, x, monkeypatch)
    if signed:
        assert any((train < 0).any() for train in whole.values())
    for at_once in (1, 3):
        limit(monkeypatch, snn, x, at_once)
        for layer, train in trains(snn, x, monkeypatch).items():
            assert_same(train, whole[layer], f"{layer} in steps of {at_once}")


@each_network
@both_signs
def test_last_running_mean_is_the_mean(name: str, signed: bool) -> None:
    snn, x = dyadic(NETWORKS[name](), signed=signed), images(3)
    last = map_tensors(lambda y: y[-1], snn(x, T=T, readout="all"))
    assert_same_output(last, snn(x, T=T))


@each_network
def test_running_mean_after_t_steps_is_a_run_of_t_steps(name: str) -> None:
    snn, x = dyadic(NETWORKS[name]()), images(3)
    running = snn(x, T=T, readout="all")
    for t in (1, 3, 4, 6):
        after = map_tensors(lambda y, t=t: y[t - 1], running)
        torch.testing.assert_close(after, snn(x, T=t))


def test_running_mean_by_hand() -> None:
    """theta = 1, v_init = 1/2, current 0.6: v is 1.1, .7, 1.3, .9, 1.5, ... and fires above 1."""
    net = Net(lambda s, x: F.relu(x))
    snn = converted(net, torch.ones(1, 1), T=5)
    running = snn(torch.tensor([[0.6]]), readout="all").flatten()
    spikes = torch.tensor([1.0, 0, 1, 0, 1])
    assert_same(running, spikes.cumsum(0) / torch.arange(1, 6))


@both_signs
def test_images_in_parts(signed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU a batch is run a few images at a time; one image's result is its own."""
    for name in ("residual", "pool in time", "branches"):
        snn, x = dyadic(NETWORKS[name](), signed=signed), images(5)
        mean, running = snn(x, T=T), snn(x, T=T, readout="all")
        assert snn.images_at_once(x, T) >= 5
        with monkeypatch.context() as patch:
            patch.setattr(limits, "_VALUES_IN_CACHE", snn.program.widest * T * 2)
            patch.setattr(torch, "get_num_threads", lambda: 1)
            assert snn.images_at_once(x, T) == 2
            assert_same_output(snn(x, T=T), mean)
            assert_same_running(snn(x, T=T, readout="all"), running)


def test_memory_of_long_runs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large T is, no more steps run together than the limit says."""
    snn, x = dyadic(NETWORKS["residual"]()), images(2)
    limit(monkeypatch, snn, x, 4)
    sizes: list[int] = []
    layer = next(step.target for step in snn.program.steps if step.label == "c2")
    snn.layers[layer].register_forward_pre_hook(lambda m, args: sizes.append(len(args[0])))
    snn(x, T=10)
    assert sizes == [8, 8, 4]


def test_chunks_add_up() -> None:
    assert list(Stage(7).chunks(3)) == [(3, False), (3, False), (1, True)]
    assert list(Stage(6).chunks(3)) == [(3, False), (3, True)]
    assert list(Stage(2).chunks(9)) == [(2, True)]
    # COS looks at its steps at once; SRP reads the potentials after the last step.
    assert list(Stage(7, cos=4).chunks(3)) == [(4, False), (3, True)]
    assert list(Stage(4, silences=True).chunks(3)) == [(3, False), (1, False)]


def test_pool_in_time_by_hand() -> None:
    """Running sums of two neurons (1 3 3) and (2 2 5): maxima 2 3 5, so increments 2 1 2."""
    pool = torch.nn.MaxPool1d(2)
    x = torch.tensor([[1.0, 2], [2, 0], [0, 3]]).view(3, 1, 1, 2)
    state = PoolState()
    pooled = temporal_max_pool(pool, x, state)
    assert pooled.flatten().tolist() == [2, 1, 2]
    more = temporal_max_pool(pool, torch.tensor([[4.0, 0]]).view(1, 1, 1, 2), state)
    assert more.flatten().tolist() == [2]  # 7 against 5


def test_pool_in_time_of_half_precision_loses_no_steps() -> None:
    """512 in bfloat16 has no room for one more; the running sum must not stand still there."""
    x = torch.ones(600, 1, 1, 2, dtype=torch.bfloat16)
    pooled = temporal_max_pool(torch.nn.MaxPool1d(2), x, PoolState())
    assert pooled.dtype == torch.bfloat16
    assert pooled.float().sum() == 600
