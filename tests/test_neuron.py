"""IFNode: the operator as a module."""

from __future__ import annotations

import copy
import io
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode, if_multistep
from spikeconv.surrogate import ATan
from tests.helpers import assert_same

X = torch.tensor([[0.75, -0.5], [0.5, 2.0], [0.25, 1.0]])
PER_NEURON = torch.tensor([0.5, 2.0])


def test_a_call_is_the_function_with_its_parameters() -> None:
    for options in (
        {},
        {"v_threshold": 0.5, "v_init": 0.25, "bias": -0.125},
        {"v_threshold": PER_NEURON, "v_init": PER_NEURON / 2},
        {"reset": "hard", "v_reset": -0.5},
        {"signed": True, "emit": "count"},
        {"emit": "psp", "backend": "reference"},
    ):
        arguments: dict[str, Any] = options
        assert_same(IFNode(**arguments)(X), if_multistep(X, **arguments)[0])
        assert_same(IFNode(**arguments)(X[0], T=5), if_multistep(X[0], T=5, **arguments)[0])


def test_run_replaces_parameters_for_one_call() -> None:
    node = IFNode(PER_NEURON, v_init=0.25, signed=True)
    net = torch.tensor([1, 0], dtype=torch.int32)
    got = node.run(X, v_init=PER_NEURON / 4, count_init=net, emit="uint8", return_v="all")
    wanted = if_multistep(
        X,
        PER_NEURON,
        PER_NEURON / 4,
        count_init=net,
        signed=True,
        emit="uint8",
        return_v="all",
    )
    for a, b in zip(got, wanted, strict=True):
        assert_same(a, b)
    assert_same(node.v_init, torch.tensor(0.25))


def test_no_state_is_kept_between_calls() -> None:
    node = IFNode(1.0, v_init=0.5)
    before = copy.deepcopy(node.state_dict())
    first = node(X)
    node(torch.full_like(X, 9.0))
    assert_same(node(X), first)
    assert node.state_dict().keys() == before.keys()
    for name, value in node.state_dict().items():
        assert_same(value, before[name])


def test_shapes_may_change_between_calls() -> None:
    node = IFNode(1.0)
    for shape in ((3, 2), (1, 7), (4, 2, 3, 5), (2,)):
        assert node(torch.ones(shape)).shape == shape


def test_repr_says_what_it_was_made_of() -> None:
    assert repr(IFNode()) == "IFNode(v_threshold=1, v_init=0)"
    assert repr(IFNode(PER_NEURON, 0.25, torch.zeros(2, 1))) == (
        "IFNode(v_threshold=[2] in [0.5, 2], v_init=0.25, bias=[2, 1] in [0, 0])"
    )
    assert repr(
        IFNode(PER_NEURON, bias=1.0, step_bias=torch.tensor([[0.5, 0.0], [0.25, -1.0]]))
    ) == ("IFNode(v_threshold=[2] in [0.5, 2], v_init=0, bias=1, step_bias=[2, 2] in [-1, 0.5])")
    node = IFNode(1 / 3, reset="hard", v_reset=-0.5, signed=True, emit="count", backend="reference")
    assert repr(node) == (
        "IFNode(v_threshold=0.3333, v_init=0, v_reset=-0.5, signed=True, emit='count', "
        "backend='reference')"
    )
    assert repr(IFNode(torch.ones(0, 3))) == "IFNode(v_threshold=[0, 3], v_init=0)"


def test_parameters_are_buffers() -> None:
    node = IFNode(PER_NEURON, 0.25, bias=0.125)
    assert not list(node.parameters())
    assert {name: value.tolist() for name, value in node.named_buffers()} == {
        "v_threshold": [0.5, 2.0],
        "v_init": 0.25,
        "bias": 0.125,
    }
    assert set(IFNode().state_dict()) == {"v_threshold", "v_init"}
    step_bias = nn.Parameter(torch.ones(3, 2))
    node = IFNode(PER_NEURON, step_bias=step_bias)
    assert set(node.state_dict()) == {"v_threshold", "v_init", "step_bias"}
    with torch.no_grad():
        step_bias.mul_(100.0)
    assert_same(node.step_bias, torch.ones(3, 2))


def test_tensors_are_copied_and_without_gradient() -> None:
    theta = PER_NEURON.clone().requires_grad_()
    node = IFNode(theta)
    with torch.no_grad():
        theta.mul_(100.0)
    assert node.v_threshold.tolist() == [0.5, 2.0]
    assert not node.v_threshold.requires_grad


def test_a_parameter_stays_itself_and_learns() -> None:
    theta, bias = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor([0.25, 0.0]))
    node = IFNode(theta, bias=bias, surrogate_function=ATan())
    assert dict(node.named_parameters()) == {"v_threshold": theta, "bias": bias}
    before = node.v_threshold.clone()
    optimizer = torch.optim.SGD(node.parameters(), lr=0.1)
    node(torch.full((4, 2), 0.4)).sum().backward()
    optimizer.step()
    assert node.v_threshold is theta
    assert not torch.equal(theta, before)
    assert bias.grad is not None
    assert bias.grad.count_nonzero() == 2
    with pytest.raises(ValueError, match="v_threshold must be positive and finite everywhere"):
        IFNode(nn.Parameter(torch.tensor(-1.0)))


def test_a_state_dict_carries_the_parameters_over() -> None:
    source, target = IFNode(PER_NEURON, 0.25), IFNode(torch.ones(2))
    target.load_state_dict(source.state_dict())
    assert_same(target(X), source(X))
    with pytest.raises(RuntimeError, match="bias"):
        target.load_state_dict(IFNode(torch.ones(2), bias=1.0).state_dict())


def saved_and_loaded(node: IFNode) -> IFNode:
    file = io.BytesIO()
    torch.save(node, file)
    file.seek(0)
    loaded: IFNode = torch.load(file, weights_only=False)
    return loaded


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda node: pickle.loads(pickle.dumps(node)), saved_and_loaded],
    ids=["copy", "deepcopy", "pickle", "save"],
)
def test_copies_do_the_same(copied: Any) -> None:
    step_bias = torch.tensor([[0.5], [-0.25]])
    node = IFNode(
        *(PER_NEURON, 0.25, 0.125), step_bias=step_bias, reset="hard", v_reset=-0.5, signed=True
    )
    twin = copied(node)
    assert repr(twin) == repr(node)
    assert_same(twin(X), node(X))


def test_a_deep_copy_has_its_own_buffers() -> None:
    node = IFNode(PER_NEURON)
    copy.deepcopy(node).v_threshold.fill_(100.0)
    assert node.v_threshold.tolist() == [0.5, 2.0]


@pytest.mark.parametrize("theta", [0.0, -1.0, math.nan, math.inf, 1e39, 1e-50])
def test_a_bad_threshold_is_an_error_at_once(theta: float) -> None:
    with pytest.raises(ValueError, match="IFNode: v_threshold must be positive and finite"):
        IFNode(theta)
    with pytest.raises(ValueError, match="IFNode: v_threshold must be positive and finite"):
        IFNode(torch.tensor([1.0, theta]))


@pytest.mark.parametrize("value", [None, [1.0], True, 1j, "half"], ids=repr)
def test_what_is_no_number_is_an_error_at_once(value: Any) -> None:
    with pytest.raises(TypeError, match="IFNode: v_threshold must be a number or a tensor, got"):
        IFNode(value)
    if value == "half":
        return
    with pytest.raises(TypeError, match="IFNode: v_init must be a number or a tensor, got"):
        IFNode(1.0, value)
    if value is not None:
        with pytest.raises(TypeError, match="IFNode: bias must be a number or a tensor, got"):
            IFNode(1.0, 0.0, value)


def test_a_bad_threshold_that_came_later_is_an_error_on_the_call() -> None:
    node = IFNode(PER_NEURON)
    node.v_threshold[1] = 0.0
    with pytest.raises(ValueError, match=r"if_multistep: v_threshold must be positive.*got 0\.0"):
        node(X)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_16_bits_the_parameters_round_and_the_membrane_does_not(dtype: torch.dtype) -> None:
    node = IFNode(torch.tensor([0.3, 0.7]), v_init=torch.tensor([0.15, 0.35]), emit="psp")
    small = copy.deepcopy(node).to(dtype)
    assert {value.dtype for value in small.buffers()} == {dtype}
    # theta / 2 stays exactly half of the theta that is emitted.
    assert_same(small.v_init, small.v_threshold / 2)
    x = X.to(dtype)
    psp, v = small.run(x)
    assert (psp.dtype, v.dtype if v is not None else None) == (dtype, torch.float32)
    # What fires is what is emitted, so nothing is lost: the received current is in psp and v.
    assert v is not None
    received = x.to(torch.float64).sum(0) + small.v_init.to(torch.float64)
    assert torch.equal(psp.to(torch.float64).sum(0) + v.to(torch.float64), received)
    assert small(X).dtype == torch.float32


def test_double_is_for_double_input_too() -> None:
    node = IFNode(PER_NEURON, 0.25).double()
    assert_same(node(X), IFNode(PER_NEURON, 0.25)(X))
    spikes, v = node.run(X.double())
    assert v is not None
    assert (spikes.dtype, v.dtype) == (torch.float64, torch.float64)


def test_a_threshold_that_half_cannot_hold_is_an_error() -> None:
    for theta in (1e-9, 1e6):
        with pytest.raises(ValueError, match="v_threshold must be positive and finite"):
            IFNode(theta).half()(X.half())


def test_on_the_meta_device() -> None:
    with torch.device("meta"):
        node = IFNode(2.0, 0.5)
        corrected = IFNode(torch.ones(5, 1, 1), 0.5, 0.25, step_bias=torch.ones(3, 5, 1, 1))
    assert corrected(torch.empty(4, 2, 5, 3, 3, device="meta")).shape == (4, 2, 5, 3, 3)
    assert repr(node) == "IFNode(v_threshold=[] on meta, v_init=[] on meta)"
    assert node(torch.empty(3, 2, device="meta")).shape == (3, 2)
    made: Tensor = node.to_empty(device="cpu").v_threshold
    assert made.device.type == "cpu"


def test_inside_a_sequence() -> None:
    network = nn.Sequential(nn.Identity(), IFNode(1.0), IFNode(1.0))
    assert_same(network(X), IFNode(1.0)(IFNode(1.0)(X)))


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    node = IFNode(PER_NEURON, 0.25, bias=0.125)
    wanted = node(X)
    node = node.to("cuda")
    assert {value.device.type for value in node.buffers()} == {"cuda"}
    assert_same(node(X.to("cuda")), wanted)
    with pytest.raises(ValueError, match="v_threshold must be on x's device cpu, got cuda"):
        node(X)
