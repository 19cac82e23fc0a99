"""torch.compile takes the operator into one graph and compiles it as seldom as it has to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from spikeconv import IFNode, if_multistep
from tests.fixtures import nothing_compiled as nothing_compiled
from tests.helpers import assert_same, runnable
from tests.ops.cases import EMITS, LAYOUTS, SHAPE, currents, thresholds

# torch's own, from the depths of its compiler.
pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")

Outputs = tuple[Tensor, Tensor | None]


def compilations(
    function: Callable[..., Outputs], calls: list[tuple[Any, ...]], compiler: str = "aot_eager"
) -> int:
    """How often `function` was compiled for these calls, which all give what they give without."""
    counter = CompileCounterWithBackend(compiler)
    compiled = torch.compile(function, backend=counter, fullgraph=True)
    for arguments in calls:
        for got, wanted in zip(compiled(*arguments), function(*arguments), strict=True):
            assert_same(got, wanted)
            if got is not None and wanted is not None:
                assert got.stride() == wanted.stride()
    return counter.frame_count


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("emit", EMITS)
def test_every_form_of_output(emit: str, backend: str) -> None:
    def function(x: Tensor, theta: Tensor) -> Outputs:
        return if_multistep(x * 2, theta, emit=emit, backend=backend)

    assert compilations(function, [(currents(*SHAPE), thresholds(5, 1, 1))]) == 1


@pytest.mark.parametrize("return_v", [None, "last", "all"])
def test_every_returned_potential(return_v: str | None) -> None:
    def function(x: Tensor) -> Outputs:
        return if_multistep(x, 0.75, return_v=return_v)

    assert compilations(function, [(currents(3, 4),)]) == 1


def test_new_numbers_cost_no_new_code() -> None:
    def function(x: Tensor, theta: float, v_init: float, bias: float) -> Outputs:
        return if_multistep(x, theta, v_init, bias)

    calls = [(currents(3, 4), k / 8, k / 16, k / 64) for k in range(1, 13)]
    assert compilations(function, calls) <= 2


def test_new_numbers_of_steps_cost_no_new_code() -> None:
    def timed(x: Tensor) -> Outputs:
        return if_multistep(x, 0.75)

    def static(x: Tensor, T: int) -> Outputs:
        return if_multistep(x, 0.75, T=T, emit="words")

    def biased(x: Tensor, bias: Tensor) -> Outputs:
        return if_multistep(x, 0.75, bias=bias)

    steps = range(2, 13)
    assert compilations(biased, [(currents(T, 5), currents(T, 1)) for T in steps]) <= 2
    assert compilations(timed, [(currents(T, 5),) for T in steps]) <= 2
    assert compilations(static, [(currents(5), T) for T in steps]) <= 2


def test_new_batch_sizes_cost_no_new_code() -> None:
    def function(x: Tensor, theta: Tensor) -> Outputs:
        return if_multistep(x, theta, return_v="all")

    calls = [(currents(3, B, 5, 2, 2), thresholds(5, 1, 1)) for B in range(2, 13)]
    assert compilations(function, calls) <= 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_have_the_predicted_strides(layout: str) -> None:
    def function(x: Tensor) -> Outputs:
        return if_multistep(x, 0.75, return_v="all")

    assert compilations(function, [(LAYOUTS[layout](currents(*SHAPE)),)]) == 1


def test_a_neuron_module_is_one_graph() -> None:
    node = IFNode(thresholds(5, 1, 1), v_init=0.25)

    def function(x: Tensor) -> Outputs:
        return node(x), None

    assert compilations(function, [(currents(*SHAPE),)] * 3) == 1


def test_an_error_in_compiled_code_names_the_argument() -> None:
    def function(x: Tensor, theta: Tensor) -> Outputs:
        return if_multistep(x, theta)

    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    with pytest.raises(ValueError, match="v_threshold must be positive"):
        compiled(currents(3, 4), torch.tensor(-1.0))
    with pytest.raises(RuntimeError, match=r"if_multistep: v_threshold must be .* broadcasts"):
        compiled(currents(3, 4), torch.ones(5))


# Both only save time: which vector instructions there are is found out by running programs.
@torch._inductor.config.patch({"cpp.vec_isa_ok": False, "cpp_cache_precompile_headers": False})
def test_inductor_around_channels_last_convolutions() -> None:
    first, second = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3)).to(
        memory_format=torch.channels_last
    )

    @torch.no_grad()
    def network(x: Tensor, theta: Tensor) -> Outputs:
        psp, v = if_multistep(first(x), theta, T=4, emit="psp")
        return second(psp.flatten(0, 1)), v

    images = currents(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(network, backend="inductor", fullgraph=True)
    for theta in (thresholds(5, 1, 1), thresholds(5, 1, 1, seed=5)):
        for got, wanted in zip(compiled(images, theta), network(images, theta), strict=True):
            torch.testing.assert_close(got, wanted)


def test_export_keeps_the_operator() -> None:
    node = IFNode(0.75, emit="count")
    x = currents(3, 4)
    program = torch.export.export(node, (x,))
    assert "spikeconv.if_multistep" in program.graph_module.code
    assert_same(program.module()(x), node(x))
