"""IFNode's step_bias: currents for the first steps, which a call may outrun, cut short or split."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from spikeconv import IFNode, if_multistep
from tests.helpers import assert_same
from tests.ops.cases import currents, thresholds

# [T, B, C, H, W]; one value a step and channel.
X = currents(5, 2, 3, 4, 4)
THETA = thresholds(3, 1, 1)
STEP_BIAS = currents(5, 3, 1, 1, seed=3) / 4
IN_TIME = STEP_BIAS.view(5, 1, 3, 1, 1)


@pytest.mark.parametrize("bias", [None, 0.125, currents(3, 1, 1, seed=4)], ids=["none", "1", "C"])
def test_the_operator_gets_both_biases_with_a_batch_dimension(bias: float | Tensor | None) -> None:
    node = IFNode(THETA, 0.25, bias, step_bias=STEP_BIAS)
    wanted = IN_TIME if bias is None else IN_TIME + bias
    assert_same(node(X), if_multistep(X, THETA, 0.25, wanted)[0])
    assert_same(node(X[0], T=5), if_multistep(X[0], THETA, 0.25, wanted, T=5)[0])
    # Without a batch, and with two dimensions in its place.
    assert_same(node(X[:, 0]), node(X)[:, 0])
    assert_same(node(X.unsqueeze(1))[:, 0], node(X))


def test_a_value_for_each_neuron_or_for_all() -> None:
    each = currents(5, 3, 4, 4, seed=5)
    assert_same(IFNode(THETA, step_bias=each)(X), if_multistep(X, THETA, bias=each.unsqueeze(1))[0])
    one = currents(5, seed=5)
    wanted = if_multistep(X, THETA, bias=one.view(5, 1, 1, 1, 1))[0]
    assert_same(IFNode(THETA, step_bias=one)(X), wanted)


def test_by_hand_and_longer_than_it_was_made_for() -> None:
    node = IFNode(1.0, bias=0.25, step_bias=torch.tensor([[0.5], [-0.5]]))
    spikes, v = node.run(torch.full((4, 1), 0.25), return_v="all")
    # m: 1.0 fires, 0.0, then 0.5 and 1.0 with the bias alone
    assert spikes.flatten().tolist() == [1, 0, 0, 1]
    assert v is not None
    assert v.flatten().tolist() == [0.0, 0.0, 0.5, 0.0]


@pytest.mark.parametrize("bias", [None, 0.125])
@pytest.mark.parametrize("made_for", [1, 3, 5, 9])
def test_a_call_of_any_number_of_steps(made_for: int, bias: float | None) -> None:
    step_bias = currents(made_for, 3, 1, 1, seed=3)
    node = IFNode(THETA, 0.25, bias, step_bias=step_bias)
    rows = torch.zeros(5, 1, 3, 1, 1)
    rows[:made_for, 0] = step_bias[:5]
    wanted = if_multistep(X, THETA, 0.25, rows if bias is None else rows + bias, return_v="all")
    for a, b in zip(node.run(X, return_v="all"), wanted, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("bias", [None, 0.125])
@pytest.mark.parametrize("cuts", [(1,), (3,), (4,), (1, 2, 3, 4), (2, 4)], ids=str)
def test_time_can_be_run_in_chunks(cuts: tuple[int, ...], bias: float | None) -> None:
    # -0 stays -0 as long as nothing is added: what is beyond the end must not show either.
    x = torch.where(X.abs() < 0.5, -0.0, X)
    node = IFNode(THETA, -0.0, bias, step_bias=STEP_BIAS[:3], signed=True)
    wanted, v_wanted = node.run(x)
    parts: list[Tensor] = []
    v = count = None
    for start, end in zip((0, *cuts), (*cuts, 5), strict=True):
        part, v = node.run(x[start:end], v_init=v, count_init=count, start=start)
        count = part.sum(0, dtype=torch.int32) + (0 if count is None else count)
        parts.append(part)
    assert_same(torch.cat(parts), wanted)
    assert_same(v, v_wanted)


def test_after_its_end_it_changes_no_bit() -> None:
    silent = torch.full((2, 3), -0.0)
    node = IFNode(1.0, -0.0, step_bias=torch.full((4, 1), -0.0))
    for start in (3, 4, 100):
        assert_same(node.run(silent, start=start)[1], torch.full((3,), -0.0))


def test_in_16_bits_the_sum_of_the_biases_is_not_rounded() -> None:
    node = IFNode(1e4, bias=2048.0, step_bias=torch.ones(2, 1)).half()
    _, v = node.run(torch.zeros(3, 1, dtype=torch.float16))
    assert v is not None
    assert v.item() == 2049 + 2049 + 2048


def test_in_double() -> None:
    node = IFNode(THETA, bias=0.1, step_bias=STEP_BIAS).double()
    wanted = if_multistep(X.double(), THETA.double(), bias=IN_TIME.double() + node.bias)
    assert_same(node(X.double()), wanted[0])


WRONG: list[tuple[Any, type[Exception], str]] = [
    (0.5, TypeError, "step_bias must be a tensor or None, got float"),
    ([0.5], TypeError, "step_bias must be a tensor or None, got list"),
    (torch.ones(3, 1, dtype=torch.int32), TypeError, "step_bias must be .*got torch.int32"),
    (torch.ones(3, 1).to_sparse(), TypeError, "step_bias must be a dense .*sparse_coo"),
    (torch.tensor(0.5), ValueError, r"step_bias must be \[T, \*\] .*got shape \[\]"),
    (torch.ones(0, 3), ValueError, r"step_bias must be .*T >= 1, got shape \[0, 3\]"),
    (torch.ones(4, 2, 1, 1), ValueError, r"each step of step_bias must .*\[3, 1, 1\].*\[2, 1, 1\]"),
]


@pytest.mark.parametrize(("step_bias", "error", "message"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_one_is_an_error_at_once(
    step_bias: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"IFNode: .*{message}"):
        IFNode(THETA, step_bias=step_bias)


def test_a_wrong_start_is_an_error() -> None:
    node = IFNode(THETA, step_bias=STEP_BIAS)
    with pytest.raises(ValueError, match="IFNode: start must be at least 0, got -1"):
        node.run(X, start=-1)
    for start in (1.0, True, None):
        wrong: Any = start
        with pytest.raises(TypeError, match="IFNode: start must be an integer, got"):
            node.run(X, start=wrong)


def test_the_operator_says_what_is_wrong_with_the_rest() -> None:
    node = IFNode(THETA, step_bias=STEP_BIAS)
    calls: list[tuple[Any, Any, type[Exception], str]] = [
        ([[1.0]], None, TypeError, "x must be a tensor, got list"),
        (torch.tensor(1.0), None, ValueError, "x must be"),
        (X[0], "4", TypeError, "T must be an integer or None, got str"),
        (X[0], 4.0, TypeError, "T must be an integer or None, got float"),
        (X[0], True, TypeError, "T must be an integer or None, got bool"),
        (X[0], 0, ValueError, "T must be an integer >= 1, got 0"),
        (X[0], -3, ValueError, "T must be an integer >= 1, got -3"),
        (X[:, :, :2], None, ValueError, "v_threshold must be"),
        (torch.ones(4, 3), None, ValueError, "v_threshold must be"),
    ]
    for x, T, error, message in calls:
        with pytest.raises(error, match=f"if_multistep: {message}"):
            node(x, T)


def test_compiled_code_is_one_graph_for_many_numbers_of_steps() -> None:
    node = IFNode(THETA, bias=0.125, step_bias=STEP_BIAS)
    torch._dynamo.reset()
    compiled = torch.compile(node, backend="aot_eager", fullgraph=True)
    for T in (2, 3, 5, 7, 8):
        assert_same(compiled(X[0], T), node(X[0], T))
    torch._dynamo.reset()


def test_export_keeps_the_operator() -> None:
    node = IFNode(THETA, step_bias=STEP_BIAS, emit="count")
    program = torch.export.export(node, (X,))
    assert "spikeconv.if_multistep" in program.graph_module.code
    assert_same(program.module()(X), node(X))
