"""Graphs on a GPU: replays give what calls give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv.convert import SpikingNetwork
from spikeconv.network.timing import Timing
from tests.convert.bodies import NETWORKS
from tests.convert.nets import converted, images
from tests.network.test_graph import CHANGES, check

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", NETWORKS)
def test_replays_equal_calls_on_new_inputs(name: str) -> None:
    snn = converted(NETWORKS[name](), T=4).cuda()
    fast = snn.graph(images(2).cuda())
    for options in ({}, {"T": 9}, {"readout": "all"}):
        for _ in range(3):
            check(fast, images(2).cuda(), **options)
    check(fast, images(5).cuda())
    assert len(fast) == 4


@pytest.mark.parametrize("timing", [Timing(delay=2), Timing(srp=2), Timing(cos=2)], ids=str)
@pytest.mark.parametrize("signed", [False, True])
def test_replays_with_timing_and_signed_neurons(signed: bool, timing: Timing) -> None:
    snn = converted(NETWORKS["residual"](), T=9, signed=signed).cuda()
    snn.timing = timing
    fast = snn.graph(images(2).cuda())
    for _ in range(3):
        check(fast, images(2).cuda())
        check(fast, images(2).cuda(), readout="all")


@pytest.mark.parametrize("timing", [Timing(srp=2), Timing(cos=2)], ids=str)
def test_replays_of_integers_with_timing(timing: Timing) -> None:
    snn = converted(NETWORKS["residual"](), T=9).cuda()
    snn.timing = timing
    fused = snn.fuse()
    fast = fused.graph(images(2).cuda())
    for _ in range(3):
        x = images(2).cuda()
        with torch.no_grad():
            assert torch.equal(fast(x), fused(x))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_noticed_by_replays(change: Callable[[SpikingNetwork], Any]) -> None:
    snn = converted(NETWORKS["residual"](), T=4).cuda()
    x = images(3).cuda()
    fast = snn.graph(x)
    with torch.no_grad():
        change(snn)
        snn.cuda()
    check(fast, x)


def test_replays_on_several_streams_and_of_several_graphs() -> None:
    snn = converted(NETWORKS["residual"](), T=4).cuda()
    batches = [images(1 + i % 3).cuda() for i in range(12)]
    with torch.no_grad():
        wanted = [snn(x) for x in batches]
    fast = snn.graph(batches[0])
    streams = [torch.cuda.Stream() for _ in range(3)]
    torch.cuda.synchronize()
    found = []
    for i, x in enumerate(batches):
        with torch.cuda.stream(streams[i % 3]):
            found.append(fast(x))
    torch.cuda.synchronize()
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)


def test_what_waits_for_the_gpu_cannot_be_captured() -> None:
    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float(x.sum() > -1e30)

    snn = converted(NETWORKS["residual"](), T=4).cuda()
    snn.layers["c1"] = nn.Sequential(snn.layers["c1"], Waits())
    with pytest.raises(RuntimeError, match="cannot be captured in a CUDA graph: one of its layers"):
        snn.graph(images(2).cuda())
    assert snn(images(2).cuda()).isfinite().all()  # the GPU goes on as before


@pytest.mark.parametrize("fuse", [False, True])
def test_replays_in_and_out_of_inference_mode(fuse: bool) -> None:
    snn = converted(NETWORKS["residual"](), T=4).cuda()
    snn = snn.fuse() if fuse else snn
    x = images(2).cuda()
    with torch.no_grad():
        wanted = snn(x)
    with torch.inference_mode():
        fast = snn.graph(x)
        assert torch.equal(fast(x), wanted)
    assert torch.equal(fast(x), wanted)


def test_replays_under_autocast_of_weights_that_learn() -> None:
    """Autocast would keep casts of such weights, and free them when it ends."""
    snn = converted(NETWORKS["residual"](), T=4).cuda().requires_grad_(True)
    x = images(2).cuda()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        fast = snn.graph(x)
        with torch.no_grad():
            wanted = snn(x)
    torch.cuda.empty_cache()  # what is free may be anybody's
    rubbish = [torch.full((1 << 12,), float("nan"), device="cuda") for _ in range(64)]
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert torch.equal(fast(x), wanted)
    assert len(rubbish) == 64


def test_replays_of_integers_of_more_sizes_than_are_kept() -> None:
    fused = converted(NETWORKS["residual"](), T=4).cuda().fuse()
    batches = [images(2, 2, size, size).cuda() for size in range(8, 16)]
    fast = fused.graph(batches[0])
    for x in (*batches, *batches):
        check(fast, x)
