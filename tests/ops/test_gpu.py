"""On a GPU every backend gives the oracle's bits too."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeconv import IFNode, if_multistep
from spikeconv.ops.backends import resolve
from tests.helpers import assert_same, runnable
from tests.ops.cases import (
    DTYPES,
    EMITS,
    LAYOUTS,
    SHAPE,
    affordable,
    check,
    currents,
    option_grid,
    thresholds,
)

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
each_backend = pytest.mark.parametrize(
    "backend", runnable(DEVICE) or ["reference", "triton", "cuda"]
)


def there(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, tensors among them moved to the GPU."""
    return {
        name: value.to(DEVICE) if isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }


@each_backend
def test_every_option(backend: str) -> None:
    parameters = {"v_threshold": thresholds(5, 1, 1), "v_init": currents(2, 1, 3, 7, seed=4)}
    every_option = itertools.chain.from_iterable(option_grid(emit) for emit in EMITS)
    for options, dtype in affordable(itertools.product(every_option, DTYPES), backend):
        x = currents(*SHAPE, dtype=dtype)[0 if options["T"] else slice(None)]
        check(x.to(DEVICE), backend, **there({**parameters, **options}))


@each_backend
def test_every_layout(backend: str) -> None:
    shapes: list[tuple[int, ...]] = [(), (5, 1, 1), (3, 7), (2, 1, 3, 7)]
    cases = itertools.product(LAYOUTS.values(), DTYPES, EMITS, shapes, (False, True))
    for arrange, dtype, emit, shape, static in affordable(cases, backend):
        x = arrange(currents(*SHAPE, dtype=dtype).to(DEVICE))
        theta = arrange(thresholds(*shape).to(DEVICE))
        v_init = arrange(currents(2, 5, 1, 7, seed=4).to(DEVICE))
        options: dict[str, Any] = {"T": 3} if static else {"return_v": "all"}
        given = x[0] if static else x
        check(given, backend, v_threshold=theta, v_init=v_init, emit=emit, **options)


@each_backend
def test_every_size_and_number_of_steps(backend: str) -> None:
    for T, size in itertools.product((1, 2, 5, 16, 33), (0, 1, 7, 64, 511, 512, 513, 1003)):
        x = currents(T, size, seed=T).to(DEVICE)
        for emit in EMITS if T <= 32 else ("spikes", "psp", "uint8", "count"):
            check(x, backend, v_threshold=0.75, v_init=0.375, emit=emit, return_v="all")


@each_backend
def test_what_is_not_finite_or_subnormal(backend: str) -> None:
    special = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e-40, -1e-40, 3e38])
    x = torch.cartesian_prod(special, special, special).t().contiguous()
    for dtype, reset, signed in itertools.product(DTYPES, ("soft", "hard"), (False, True)):
        options = {"reset": reset, "signed": signed, "emit": "psp", "return_v": "all"}
        check(x.to(DEVICE, dtype), backend, v_threshold=2.0**-140, **options)
        check(x.to(DEVICE, dtype), backend, v_threshold=0.75, **options)


@each_backend
def test_the_order_of_additions_is_kept(backend: str) -> None:
    # Rounds differently if fused, or if bias and input are added first.
    x = currents(16, 4096).to(DEVICE) / 3
    bias = currents(4096, seed=5).to(DEVICE) / 7
    check(x, backend, v_threshold=thresholds(4096).to(DEVICE) / 3, bias=bias, return_v="all")


@each_backend
def test_many_neurons(backend: str) -> None:
    x = currents(16, 7, 150_001).to(DEVICE)
    for emit in EMITS:
        arguments: dict[str, Any] = {"v_threshold": thresholds(7, 1).to(DEVICE), "emit": emit}
        got = if_multistep(x, **arguments, backend=backend)
        for a, b in zip(got, if_multistep(x, **arguments, backend="reference"), strict=True):
            assert_same(a, b)


@each_backend
def test_numbers_on_the_cpu_and_thresholds_on_the_gpu(backend: str) -> None:
    x = currents(3, 4).to(DEVICE)
    check(x, backend, v_threshold=torch.tensor(0.5), v_init=torch.tensor(0.25), bias=0.1)
    with pytest.raises(ValueError, match="v_threshold must be on x's device cuda"):
        if_multistep(x, torch.ones(4), backend=backend)


@each_backend
def test_a_threshold_is_checked_again_when_it_changes(backend: str) -> None:
    x = currents(3, 4).to(DEVICE)
    theta = torch.ones(4, device=DEVICE)
    if_multistep(x, theta, backend=backend)
    theta[2] = -1.0
    with pytest.raises(ValueError, match="v_threshold must be positive"):
        if_multistep(x, theta, backend=backend)
    theta = torch.full((4,), 1e-300, dtype=torch.float64, device=DEVICE)
    if_multistep(x.double(), theta, backend="reference")
    with pytest.raises(ValueError, match="v_threshold must be positive"):
        if_multistep(x, theta, backend=backend)


@each_backend
def test_opcheck(backend: str) -> None:
    x, theta = currents(*SHAPE).to(DEVICE), thresholds(5, 1, 1).to(DEVICE)
    v_init = torch.zeros((), device=DEVICE)
    for options in ({"emit": "psp", "return_v": "all"}, {"emit": "words", "T": 4}):
        torch.library.opcheck(
            torch.ops.spikeconv.if_multistep,
            (x, theta, v_init),
            {**options, "backend": backend},
        )


@each_backend
def test_capture_in_a_graph(backend: str) -> None:
    node = IFNode(thresholds(5, 1, 1), v_init=0.25, backend=backend).to(DEVICE)
    x = currents(*SHAPE).to(DEVICE)
    node(x)  # what a first call loads cannot be captured
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        emitted = node(x)
    for seed in (7, 8):
        x.copy_(currents(*SHAPE, seed=seed))
        graph.replay()
        assert_same(emitted, node(x))


@each_backend
def test_side_stream(backend: str) -> None:
    x = currents(16, 100_003).to(DEVICE)
    wanted = if_multistep(x, 0.75, backend="reference")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        got = if_multistep(x.clone(), 0.75, backend=backend)
    stream.synchronize()
    for a, b in zip(got, wanted, strict=True):
        assert_same(a, b)


def test_the_choice_on_a_gpu() -> None:
    x = torch.ones(3, 4, device=DEVICE)
    assert resolve(None, x).name in ("triton", "cuda")
    assert resolve(None, x.double()).name == "reference"
    with pytest.raises(ValueError, match="'cpp' cannot run here: it runs on CPU tensors only"):
        if_multistep(x, backend="cpp")
