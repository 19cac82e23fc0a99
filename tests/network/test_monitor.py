"""Whose calls a `monitor()` counts, and until when."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from torch import nn

from spikeconv.convert import SpikingNetwork
from spikeconv.network.monitor import monitor_of
from tests.convert.nets import converted

X = torch.tensor([[1.0], [0.6], [-1.0]])


def one_neuron() -> SpikingNetwork:
    """theta = 1, v_init = 1/2, current = image, T = 4: of X it fires 4, 2 and 0 times."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    nn.init.ones_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    return converted(net, torch.tensor([[0.5], [1.0]]), T=4)


def test_the_innermost_of_nested_blocks_counts() -> None:
    snn = one_neuron()
    with snn.monitor() as outer:
        snn(X)
        with snn.monitor() as inner:
            snn(X[:1])
        snn(X)
    assert outer.totals() == {"_1": (2 * 6, 2 * 12)}
    assert inner.totals() == {"_1": (4, 4)}


def test_each_network_has_blocks_of_its_own() -> None:
    one, other = one_neuron(), one_neuron()
    with one.monitor() as first, other.monitor() as second:
        one(X)
        other(X[1:])
    assert (first.totals(), second.totals()) == ({"_1": (6, 12)}, {"_1": (2, 8)})


def test_blocks_that_overlap_end_each_with_its_own_end() -> None:
    snn = one_neuron()
    first, second = snn.monitor(keep_counts=True), snn.monitor()
    before, after = first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    snn(X)
    second.__exit__(None, None, None)
    assert monitor_of(snn) is None
    assert before.totals() == {}
    assert after.totals() == {"_1": (6, 12)}


def test_calls_of_other_threads_are_not_counted() -> None:
    snn, seen = one_neuron(), []

    def call() -> None:
        seen.append(monitor_of(snn))
        snn(X[:2])  # another batch size, which `keep_counts` would not take

    with snn.monitor(keep_counts=True) as monitor:
        snn(X)
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    assert seen == [None]
    assert monitor.totals() == {"_1": (6, 12)}


def test_reports_in_threads_leave_nothing_behind() -> None:
    snn = one_neuron()
    rates: list[float] = []
    inside = threading.Barrier(2)

    def measure() -> None:
        with snn.monitor():
            inside.wait(timeout=60)  # both blocks are open now
            rates.append(snn.report(X).rows[0].firing_rate)

    threads = [threading.Thread(target=measure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rates == [0.5, 0.5]
    assert monitor_of(snn) is None


def test_what_is_made_of_a_monitored_network_is_not_monitored() -> None:
    snn = one_neuron()
    with snn.monitor(keep_counts=True) as monitor:
        with pytest.warns(UserWarning, match="no layer of this network has a form in integers"):
            fused = snn.fuse()
        made = [copy.deepcopy(snn), pickle.loads(pickle.dumps(snn)), fused]
        for network in made:
            network(X)
            network(X[:2])
        assert [monitor_of(network) for network in made] == [None] * 3
    assert monitor.totals() == {}


@pytest.mark.filterwarnings("ignore:Dynamo does not know")
def test_a_compiled_network_counts_inside_blocks_alone() -> None:
    snn = one_neuron()
    compiled = torch.compile(snn, backend="eager")
    wanted = snn(X)
    assert torch.equal(compiled(X), wanted)
    for _ in range(2):
        with snn.monitor() as monitor:
            assert torch.equal(compiled(X), wanted)
        assert torch.equal(compiled(X), wanted)
        assert monitor.totals() == {"_1": (6, 12)}


def test_a_compiled_network_knows_nothing_of_other_networks_blocks() -> None:
    snn, other = one_neuron(), one_neuron()
    compiled = torch.compile(snn, backend="eager", fullgraph=True)
    wanted = snn(X)
    assert torch.equal(compiled(X), wanted)
    with torch.compiler.set_stance("fail_on_recompile"), other.monitor() as monitor:
        assert torch.equal(compiled(X), wanted)
    assert monitor.totals() == {}
    torch.compiler.reset()
    with other.monitor():
        assert torch.equal(compiled(X), wanted)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert torch.equal(compiled(X), wanted)
