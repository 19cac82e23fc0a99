"""Graphs of a network's calls: what they are looked up by, and when they are captured anew.

Without a GPU a capture is stood for by one that keeps its run and its buffers: a replay of the
wrong graph gives the wrong outputs, as it would there.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv.convert import SpikingNetwork
from spikeconv.network.cuda_graph import capturable
from spikeconv.network.graph import GraphedNetwork
from spikeconv.network.structure import map_tensors
from spikeconv.network.timing import Timing
from tests.convert.bodies import NETWORKS
from tests.convert.nets import assert_same_output, converted, images
from tests.convert.test_several_inputs import data, made


class OnTheCpu:
    """Captures by keeping buffers and run, and counts."""

    def __init__(self) -> None:
        self.captured = 0
        self.forgotten = 0

    def check(self, inputs: Sequence[Tensor]) -> None:
        assert all(isinstance(x, Tensor) for x in inputs)

    def forget(self) -> None:
        self.forgotten += 1

    def capture(self, run: Callable[[Sequence[Tensor]], Any], inputs: Sequence[Tensor]) -> Any:
        self.captured += 1
        buffers = [x.clone() for x in inputs]
        run(buffers)

        def replay(inputs: Sequence[Tensor]) -> Any:
            for buffer, x in zip(buffers, inputs, strict=True):
                assert (buffer.shape, buffer.dtype) == (x.shape, x.dtype)
                buffer.copy_(x)
            with torch.no_grad():
                return map_tensors(torch.clone, run(buffers))

        return replay


@pytest.fixture
def snn() -> SpikingNetwork:
    return converted(NETWORKS["residual"](), T=4)


@pytest.fixture
def graphs() -> OnTheCpu:
    return OnTheCpu()


def check(fast: GraphedNetwork, *inputs: Tensor, **options: Any) -> None:
    with torch.no_grad():
        assert_same_output(fast(*inputs, **options), fast.network(*inputs, **options))


def test_one_graph_for_each_shape_T_and_readout(snn: SpikingNetwork, graphs: OnTheCpu) -> None:
    fast = GraphedNetwork(snn, images(2), graphs)
    assert graphs.captured == 1  # at once, so that what cannot be captured is said at once
    kinds: list[dict[str, Any]] = [{}, {"T": 7}, {"readout": "all"}, {"T": 7, "readout": "all"}]
    for count in (2, 5, 2):
        for options in (*kinds, *kinds):
            check(fast, images(count), **options)
    assert graphs.captured == len(fast) == 8
    check(fast, images(2), T=snn.T)
    snn.T = 7
    check(fast, images(2))
    assert graphs.captured == 8


def test_other_strides_and_autocast_are_other_graphs(snn: SpikingNetwork, graphs: OnTheCpu) -> None:
    fast = GraphedNetwork(snn, images(2), graphs)
    check(fast, images(2).to(memory_format=torch.channels_last))
    assert graphs.captured == 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        check(fast, images(2))
    check(fast, images(2))
    assert graphs.captured == 3


CHANGES: dict[str, Callable[[SpikingNetwork], Any]] = {
    "a threshold": lambda snn: snn.populations()["relu"].v_threshold.mul_(2),
    "a threshold replaced": lambda snn: setattr(
        snn.populations()["relu"], "v_threshold", snn.populations()["relu"].v_threshold * 2
    ),
    "a weight": lambda snn: snn.layers["c2"].weight.data.copy_(torch.randn(4, 4, 3, 3)),
    "a bias": lambda snn: snn.layers["fc"].bias.add_(1),
    "a layer": lambda snn: snn.layers.update({"fc": nn.Linear(4, 3)}),
    "signed neurons": lambda snn: setattr(snn.populations()["relu_1"], "signed", True),
    "the timing": lambda snn: setattr(snn, "timing", Timing(delay=2)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_noticed(
    change: Callable[[SpikingNetwork], Any], snn: SpikingNetwork, graphs: OnTheCpu
) -> None:
    x = images(3)
    fast = GraphedNetwork(snn, x, graphs)
    before = fast(x)
    with torch.no_grad():
        change(snn)
    check(fast, x)
    assert not torch.equal(fast(x), before), "a change that changes nothing shows nothing"


def test_after_a_change_all_graphs_are_captured_anew(snn: SpikingNetwork, graphs: OnTheCpu) -> None:
    fast = GraphedNetwork(snn, images(2), graphs)
    check(fast, images(3))
    forgotten = graphs.forgotten
    with torch.no_grad():
        snn.populations()["relu"].v_threshold.mul_(2)
    check(fast, images(2))
    assert (graphs.captured, len(fast), graphs.forgotten) == (3, 1, forgotten + 1)
    fast.clear()
    assert len(fast) == 0
    check(fast, images(2))
    assert graphs.captured == 4


def test_the_graph_that_was_not_used_for_longest_goes(
    snn: SpikingNetwork, graphs: OnTheCpu
) -> None:
    fast = GraphedNetwork(snn, images(1), graphs, limit=2)
    for count in (2, 1, 3):  # 2 goes for 3
        check(fast, images(count))
    assert (graphs.captured, len(fast)) == (3, 2)
    check(fast, images(1))
    assert graphs.captured == 3
    check(fast, images(2))
    assert graphs.captured == 4


def test_outputs_are_the_caller_s(snn: SpikingNetwork, graphs: OnTheCpu) -> None:
    x = images(2)
    fast = GraphedNetwork(snn, x, graphs)
    first = fast(x)
    kept = first.clone()
    fast(images(2) + 1)
    assert torch.equal(first, kept)
    first.zero_()
    assert torch.equal(fast(x), kept)


def test_several_inputs_and_outputs(graphs: OnTheCpu) -> None:
    snn = made(data())
    x, y = data(3)
    fast = GraphedNetwork(snn, snn._given((x, y), {}), graphs)
    check(fast, x, y)
    assert_same_output(fast(other=y, x=x), fast(x, y))
    assert graphs.captured == 1


def test_no_images_need_no_graph(snn: SpikingNetwork, graphs: OnTheCpu) -> None:
    fast = GraphedNetwork(snn, images(2), graphs)
    assert fast(images(2)[:0]).shape == (0, 3)
    assert graphs.captured == 1


def test_wrong_calls_are_refused_as_the_network_refuses_them(
    snn: SpikingNetwork, graphs: OnTheCpu
) -> None:
    fast = GraphedNetwork(snn, images(2), graphs)
    with pytest.raises(ValueError, match="x must be a batch like"):
        fast(torch.zeros(2, 3, 8, 8))
    with pytest.raises(TypeError, match="the inputs must be x, got 2 of them"):
        fast(images(2), images(2))
    with pytest.raises(ValueError, match="readout must be one of"):
        fast(images(2), readout="last")
    for T in (0, True, [4]):
        with pytest.raises((TypeError, ValueError), match="T must be"):
            fast(images(2), T=T)  # type: ignore[arg-type]
    with torch.no_grad():
        snn.populations()["relu"].v_threshold.fill_(-1)
    with pytest.raises(ValueError, match="v_threshold must be positive"):
        fast(images(2))


def test_a_monitor_and_a_graph_exclude_each_other(snn: SpikingNetwork, graphs: OnTheCpu) -> None:
    fast = GraphedNetwork(snn, images(2), graphs)
    with snn.monitor(), pytest.raises(ValueError, match=r"must not be called inside monitor\(\)"):
        fast(images(2))
    check(fast, images(2))


def test_threads_wait_for_one_another(snn: SpikingNetwork, graphs: OnTheCpu) -> None:
    x = images(8)
    fast = GraphedNetwork(snn, x[:1], graphs)
    wanted = [fast(image) for image in x.split(1)]
    wrong = []

    def work(i: int) -> None:
        for _ in range(20):
            if not torch.equal(fast(x[i : i + 1]), wanted[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_a_graph_reads_lives_as_long_as_it() -> None:
    """Integers of a few sizes of images are kept; a graph's addresses are of one of them."""
    fused = converted(NETWORKS["residual"](), T=4).fuse()
    fast = GraphedNetwork(fused, images(1), OnTheCpu())
    assert fused.integers is not None
    engine = weakref.ref(fused.integers.for_run(4, fused._given((images(1),), {}))[1])
    with torch.no_grad():
        for size in range(9, 18):  # more than are kept
            fused(images(1, 2, size, size))
    gc.collect()
    assert engine() is not None
    check(fast, images(1))
    fast.clear()
    gc.collect()
    assert engine() is None


def test_a_capture_leaves_modes_as_they_were() -> None:
    """Casts that autocast keeps for weights that learn are freed when it ends; a graph would read
    them still. And calls in and out of inference mode fill the same buffers."""
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        with capturable():
            assert not torch.is_autocast_cache_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
            assert torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_cache_enabled()
        assert torch.is_inference_mode_enabled()


def test_on_a_cpu_there_is_no_graph(snn: SpikingNetwork) -> None:
    with pytest.raises(ValueError, match="on a CUDA GPU, got cpu; call the network itself there"):
        snn.graph(images(2))
    with pytest.raises(ValueError, match="x must be a batch like"):
        snn.graph(torch.zeros(2, 3, 8, 8))
