"""Fused networks among threads, under a compiler, with hooks, and given back."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from spikeconv import convert
from tests.fuse.nets import exact, images, shape_of


def test_threads_with_images_of_many_sizes() -> None:
    snn = exact("residual")
    fused = snn.fuse()
    xs = [images((3, size, size + 1), 1) for size in range(8, 16)]  # more than plans are kept
    with torch.no_grad():
        wanted = [snn(x) for x in xs]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def run(start: int) -> bool:
        with torch.no_grad():
            order = [(start * 3 + i) % len(xs) for i in range(2 * len(xs))]
            return all(torch.equal(fused(xs[i]), wanted[i]) for i in order)

    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(run, range(4)))
    finally:
        sys.setswitchinterval(before)


@torch.no_grad()
def test_a_compiler_takes_what_is_around_it() -> None:
    fused = exact("strided").fuse()
    both = nn.Sequential(fused, nn.Softmax(1))
    x = images(shape_of("strided"), 2)
    assert torch.equal(torch.compile(both, backend="eager")(x), both(x))


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*deprecated")
@pytest.mark.parametrize(
    "through",
    [torch.export.export, torch.jit.trace, lambda snn, x: torch.vmap(snn)(x[0][:, None])],
    ids=["export", "trace", "vmap"],
)
def test_what_is_traced_must_not_be_fused(through: Callable[..., Any]) -> None:
    x = images(shape_of("strided"), 2)
    with pytest.raises(ValueError, match=r"must not be fused in .*; export the network that it"):
        through(exact("strided").fuse(), (x,))


@torch.no_grad()
def test_memory_that_was_given_back_is_taken_again() -> None:
    fused, x = exact("strided").fuse(), images(shape_of("strided"), 2)
    wanted = fused(x)
    assert fused.integers is not None
    fused.integers.forget_engines()
    assert torch.equal(fused(x), wanted)


def test_a_network_without_integers_says_so(recwarn: pytest.WarningsRecorder) -> None:
    exact("strided").fuse()
    assert not recwarn.list
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    snn = convert(body.eval(), torch.rand(4, 1, 8, 8), T=4, progress=False)
    with pytest.warns(UserWarning, match="fuse: no layer of this network has a form in integers"):
        snn.fuse()


@pytest.mark.filterwarnings("ignore:.*no layer of this network")
def test_layers_without_neurons_between_them_say_so() -> None:
    body = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 3, 3), nn.ReLU()
    )
    snn = convert(body.eval(), torch.rand(4, 1, 8, 8), T=4, progress=False)
    found = list(snn.fuse().report().paths.values())[1]
    assert "what 2 gives is no spikes, and is sliced, joined with others or read" in found


@pytest.mark.parametrize("backend", [["cpp"], 3])
def test_a_backend_is_a_name(backend: object) -> None:
    with pytest.raises(ValueError, match="fuse: backend must be one of"):
        exact("strided").fuse(backend=backend)  # type: ignore[arg-type]


def test_plans_of_ever_longer_runs_are_not_all_kept() -> None:
    form = exact("strided").fuse().integers
    assert form is not None
    first = weakref.ref(form.plan(1))
    assert form.plan(64) is first()  # the same steps are safe
    for T in (65, 129, 257, 513):
        form.plan(T)
    gc.collect()
    assert first() is None


@torch.no_grad()
def test_a_channel_without_weights_for_many_steps() -> None:
    """A pruned filter whose bias is all that it adds: its unit comes from its threshold alone."""
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten())
    body[2].weight[0] = 0
    body[2].bias[0] = 1
    snn = convert(body.eval(), torch.rand(4, 1, 8, 8), T=4, method="opi", progress=False)
    fused, x = snn.fuse("int16"), torch.rand(2, 1, 8, 8)
    for T in (4, 65, 1000):
        assert fused.integers is not None
        assert list(fused.integers.paths(T).values())[1] == "int16"
    torch.testing.assert_close(fused(x, T=200), snn(x, T=200), atol=0.02, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("first", [False, True])
def test_a_hook_is_called_though_it_costs_integers(first: bool) -> None:
    """Put on before the first call, or after it; once it is taken off, integers are back."""
    fused, x = exact("residual").fuse(), images(shape_of("residual"), 2)
    wanted, layer = fused(x), fused.layers["second"]
    path = list(fused.report().paths)[2]
    if first:
        fused = exact("residual").fuse()
        layer = fused.layers["second"]
    handle = layer.register_forward_hook(lambda module, given, output: 0 * output)
    assert not torch.equal(fused(x), wanted)
    assert fused.report(x).paths[path] == (
        "float: second has a hook of its own, or another method in place of its class's"
    )
    handle.remove()
    assert torch.equal(fused(x), wanted)


@torch.no_grad()
def test_hooks_of_all_modules_are_tools_that_watch() -> None:
    """torch's own count of operations sets such hooks, and is to count what runs without it."""
    fused, x = exact("residual").fuse(), images(shape_of("residual"), 2)
    wanted = fused.report(x).paths
    with FlopCounterMode(display=False):
        assert fused.report(x).paths == wanted
