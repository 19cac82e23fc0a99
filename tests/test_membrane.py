"""IFNode's state: steps and runs, a potential that is kept, reset, copied, and never mistaken."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode, if_multistep
from spikeconv.surrogate import ATan
from tests.helpers import assert_same
from tests.ops.cases import currents, thresholds

X = currents(6, 2, 5, 3)  # [T, B, C, N]
KINDS = [
    {"v_reset": v_reset, "fires": fires, "v_init": v_init, "bias": bias}
    for v_reset, fires, (v_init, bias) in itertools.product(
        (None, 0, -0.5), ("ge", "gt"), ((0, None), ("half", 0.125))
    )
]


def whole(node: IFNode) -> tuple[Tensor, Tensor]:
    """What all steps at once give: spikes and every potential."""
    spikes, v = node.run(X, return_v="all")
    assert v is not None
    return spikes, v


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("theta", [1, 0.5, thresholds(5, 1)], ids=["int", "float", "channels"])
def test_steps_one_by_one_are_the_run(kind: dict[str, Any], theta: Any) -> None:
    node = IFNode(theta, step_mode="s", store_v_seq=True, **kind)
    spikes, v = whole(node)
    for _ in range(2):  # again after a reset
        assert_same(torch.stack([node(x) for x in X]), spikes)
        assert_same(node.v, v[-1])
        assert_same(node.v_seq, v)
        node.reset()
        assert node.v_seq is None


@pytest.mark.parametrize("kind", KINDS)
def test_kept_state_goes_on_in_the_next_run(kind: dict[str, Any]) -> None:
    node = IFNode(thresholds(5, 1), keep_state=True, store_v_seq=True, **kind)
    spikes, v = whole(node)
    assert_same(torch.cat([node(X[:2]), node(X[2:])]), spikes)
    assert_same(node.v, v[-1])
    assert_same(node.v_seq, v[2:])  # of the last call
    node.reset()
    assert_same(node(X[0], T=3), if_multistep(X[0], node.v_threshold, **again(node), T=3)[0])


def again(node: IFNode) -> dict[str, Any]:
    return {
        "v_init": node.v_init,
        "bias": node.bias,
        "fires": node.fires,
        "reset": "soft" if node.v_reset is None else "hard",
        "v_reset": node.v_reset or 0.0,
    }


def test_steps_and_runs_share_the_potential() -> None:
    node = IFNode(0.5, keep_state=True)
    spikes, v = whole(node)
    first = node(X[:3])
    node.step_mode = "s"
    assert_same(torch.cat([first, *(node(x).unsqueeze(0) for x in X[3:])]), spikes)
    assert_same(node.v, v[-1])


def test_by_default_a_run_keeps_nothing_and_a_step_does() -> None:
    run, step = IFNode(1.0), IFNode(1.0, step_mode="s")
    x = torch.tensor([[0.75]])
    assert [run(x).item(), run(x).item(), run.v] == [0.0, 0.0, 0.0]
    assert [step(x).item(), step(x).item(), step.v.item()] == [0.0, 1.0, 0.5]
    forgetful = IFNode(1.0, step_mode="s", keep_state=False)
    assert [forgetful(x).item(), forgetful(x).item()] == [0.0, 0.0]


def test_a_run_without_state_can_tell_its_potentials() -> None:
    node = IFNode(1.0, store_v_seq=True)
    for _ in range(2):
        assert_same(node(X), whole(node)[0])
        assert_same(node.v_seq, whole(node)[1])
    node.store_v_seq = False
    assert node.v_seq is None
    node(X)
    assert node.v_seq is None


@pytest.mark.parametrize("emit", ["psp", "uint8", "count", "words"])
def test_a_step_emits_what_it_is_asked_for(emit: str) -> None:
    node = IFNode(thresholds(5, 1), step_mode="s", emit=emit)
    got = torch.stack([node(x) for x in X])
    spikes = whole(IFNode(node.v_threshold))[0]
    wanted = {
        "psp": spikes * node.v_threshold,
        "uint8": spikes.to(torch.uint8),
        "count": spikes.to(torch.int32),
        "words": spikes.to(torch.int32),  # step 0 is bit 0
    }
    assert_same(got, wanted[emit])


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_another_shape_is_an_error_and_reset_allows_it(step_mode: str) -> None:
    node = IFNode(1.0, step_mode=step_mode, keep_state=True)
    time = () if step_mode == "s" else (4,)
    node(torch.ones(*time, 3, 2))
    kept = node.v
    for shape in ((2, 2), (1, 2), (3, 2, 1), (2,)):
        with pytest.raises(
            ValueError, match=r"IFNode: x must be a current of \[3, 2\] neurons.*call reset\(\)"
        ):
            node(torch.ones(*time, *shape))
        assert node.v is kept
    node.reset()
    assert node(torch.ones(*time, 1, 2)).shape == (*time, 1, 2)


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_state_of_inference_mode_can_be_learned_from(step_mode: str) -> None:
    node = IFNode(1.0, step_mode=step_mode, keep_state=True, surrogate_function=ATan())
    plain = IFNode(1.0, step_mode=step_mode, keep_state=True, surrogate_function=ATan())
    x = torch.rand(3, 4)
    with torch.inference_mode():
        node(x)
    with torch.no_grad():
        plain(x)
    compiled = copy.deepcopy(node)
    run = torch.compile(compiled, backend="aot_eager")
    given = [x.clone().requires_grad_() for _ in range(3)]
    for one, current in zip((node, plain, run), given, strict=True):
        one(current).sum().backward()
    assert given[0].grad is not None
    for other in given[1:]:
        assert other.grad is not None
        assert torch.equal(given[0].grad, other.grad)


def test_a_potential_can_be_assigned() -> None:
    node = IFNode(1.0, step_mode="s")
    node.v = 1
    assert node(torch.tensor([0.0, -0.5])).tolist() == [1.0, 0.0]
    node.v = torch.tensor([0.5, 1.5])
    assert node(torch.tensor([0.25, 0.0])).tolist() == [0.0, 1.0]
    assert node.v.tolist() == [0.75, 0.5]
    node.reset()
    assert node.v == 0.0
    with pytest.raises(TypeError, match="v must be a number or a tensor, got NoneType"):
        node.v = None  # type: ignore[assignment]
    with pytest.raises(ValueError, match="v has no effect on a node that keeps no state"):
        IFNode(1.0).v = 0.5


def test_v_is_v_init_until_a_call() -> None:
    assert IFNode(1.0, 0.25, step_mode="s").v == 0.25
    theta = thresholds(5, 1)
    assert_same(IFNode(theta, "half").v, theta / 2)
    node = IFNode(1.0, 0.25, step_mode="s")
    node.v_init.fill_(0.5)
    assert node.v == 0.5


def test_what_needs_more_than_a_potential_keeps_no_state() -> None:
    for more in ({"signed": True}, {"step_bias": torch.ones(2, 1)}):
        for state in ({"step_mode": "s"}, {"keep_state": True}):
            with pytest.raises(ValueError, match=r"where state is kept.*run\(v_init="):
                IFNode(1.0, **more, **state)  # type: ignore[arg-type]
        node = IFNode(1.0, **more)  # type: ignore[arg-type]
        node.step_mode = "s"
        with pytest.raises(ValueError, match="where state is kept"):
            node(X[0])


def test_state_is_not_in_the_state_dict() -> None:
    node = IFNode(1.0, step_mode="s", store_v_seq=True)
    before = set(node.state_dict())
    node(X[0])
    assert set(node.state_dict()) == before == {"v_threshold", "v_init"}


def saved(node: IFNode) -> IFNode:
    file = io.BytesIO()
    torch.save(node, file)
    file.seek(0)
    loaded: IFNode = torch.load(file, weights_only=False)
    return loaded


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda node: pickle.loads(pickle.dumps(node)), saved],
    ids=["copy", "deepcopy", "pickle", "save"],
)
def test_a_copy_goes_on_from_the_same_potential(copied: Any) -> None:
    node = IFNode(0.5, step_mode="s", store_v_seq=True, surrogate_function=ATan())
    node(X[0].clone().requires_grad_())  # with a graph, which torch refuses to copy
    twin = copied(node)
    assert repr(twin) == repr(node)
    assert_same(twin.v_seq, node.v_seq.detach())  # type: ignore[union-attr]
    with torch.no_grad():
        wanted = [node(x) for x in X[1:]]
        twins = [twin(x) for x in X[1:]]
    for mine, want in zip(twins, wanted, strict=True):
        assert_same(mine, want)
    twin.reset()
    assert isinstance(node.v, Tensor)


def test_state_moves_with_the_module() -> None:
    node = IFNode(0.5, step_mode="s", store_v_seq=True)
    node(X[0])
    node.double()
    assert isinstance(node.v, Tensor)
    assert node.v_seq is not None
    assert (node.v.dtype, node.v_seq.dtype) == (torch.float64, torch.float64)
    nn.Sequential(node).to("meta")
    assert node.v.is_meta


def test_sixteen_bits_keep_a_potential_of_thirty_two() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        node = IFNode(0.5, step_mode="s")
        x = X.to(dtype)
        wanted, v = node.run(x)
        assert_same(torch.stack([node(current) for current in x]), wanted)
        assert_same(node.v, v)


def test_detach_cuts_the_graph_and_keeps_the_value() -> None:
    node = IFNode(0.5, step_mode="s", store_v_seq=True, surrogate_function=ATan())
    node(X[0].clone().requires_grad_())
    kept = node.v
    assert isinstance(kept, Tensor)
    assert kept.requires_grad
    node.detach()
    assert isinstance(node.v, Tensor)
    assert_same(node.v, kept.detach())
    assert not node.v.requires_grad
    assert node.v_seq is not None
    assert not node.v_seq.requires_grad


@pytest.mark.parametrize("v_reset", [None, 0.0])
@pytest.mark.parametrize("detach_reset", [False, True])
def test_the_gradient_of_steps_is_that_of_the_run(v_reset: float, detach_reset: bool) -> None:
    gradients = []
    for step_mode in ("s", "m"):
        node = IFNode(
            thresholds(5, 1),
            v_reset=v_reset,
            surrogate_function=ATan(),
            detach_reset=detach_reset,
            step_mode=step_mode,
            keep_state=True,
        )
        x = X.clone().requires_grad_()
        spikes = node(x) if step_mode == "m" else torch.stack([node(step) for step in x])
        (spikes * torch.arange(1.0, 7.0).view(6, 1, 1, 1)).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-6)


def test_without_a_surrogate_there_is_no_gradient() -> None:
    for step_mode, x in (("s", X[0]), ("m", X)):
        node = IFNode(step_mode=step_mode)
        with pytest.raises(RuntimeError, match="no gradient without a surrogate"):
            node(x.clone().requires_grad_()).sum().backward()


@pytest.mark.parametrize("kind", [{}, {"v_reset": -0.5, "fires": "gt"}, {"store_v_seq": True}])
def test_compiled_code_is_one_graph_and_keeps_the_state(kind: dict[str, Any]) -> None:
    for step_mode, calls in (("s", list(X)), ("m", [X, X])):
        torch._dynamo.reset()
        node = IFNode(0.5, "half", step_mode=step_mode, keep_state=True, **kind)
        plain = copy.deepcopy(node)
        compiled = torch.compile(node, backend="aot_eager", fullgraph=True)
        for x in calls:
            assert_same(compiled(x), plain(x))
            assert_same(node.v, plain.v)
            assert_same(node.v_seq, plain.v_seq)
    torch._dynamo.reset()
