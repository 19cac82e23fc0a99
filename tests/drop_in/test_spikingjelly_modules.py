"""SpikingJelly 2.0.0: its functions find what they look for, and the module stays what it was."""

from __future__ import annotations

import copy
import gc
import io
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode, replace_neurons
from tests.drop_in.libraries import assert_equal, library, replaced, steps

pytestmark = pytest.mark.spikingjelly

neuron: Any = library("spikingjelly.activation_based.neuron")
functional: Any = library("spikingjelly.activation_based.functional")
base: Any = library("spikingjelly.activation_based.base")
surrogate: Any = library("spikingjelly.activation_based.surrogate")


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """What SpikingJelly logs."""
    logger = library("spikingjelly.logger").logger
    messages: list[str] = []
    logger.enable("spikingjelly")
    sink = logger.add(messages.append, level="WARNING")
    yield messages
    logger.remove(sink)
    logger.disable("spikingjelly")


def test_their_functions_take_ours_for_theirs(warned: list[str]) -> None:
    net = nn.Sequential(neuron.IFNode(v_reset=None), neuron.LIFNode(), neuron.HalfThresholdIFNode())
    reference = copy.deepcopy(net)
    functional.reset_net(net)  # which caches the modules to reset, by identity
    replace_neurons(net)
    for x in steps(3, 5):
        net(x)
    gc.collect()
    functional.reset_net(net)
    assert (net[0].v, net[2].v) == (0.0, 0.5)
    x = steps(3, 5)
    for each in (net, reference):
        functional.set_step_mode(each, "m")
    assert net[0].step_mode == net[2].step_mode == "m"
    assert_equal(net(x), reference(x))
    net(x.clone().requires_grad_())
    assert net[0].v.requires_grad
    functional.detach_net(net)
    assert not net[0].v.requires_grad
    assert not warned
    functional.reset_net(nn.Sequential(IFNode(step_mode="s")))  # found too, with a remark
    assert "not a MemoryModule" in "".join(warned)


def test_the_potential_is_one_of_their_memories() -> None:
    net = nn.Sequential(nn.Linear(5, 5), neuron.IFNode(v_reset=None, step_mode="m"))
    mine = replaced(net)
    x = steps(3, 5)
    wanted, state = base.to_functional_forward(net)((x,), (0.0,))
    got, mine_state = base.to_functional_forward(mine)((x,), (0.0,))
    assert_equal(got, wanted)
    assert_equal(mine_state, state)
    assert mine[1].v == 0.0
    assert len(base.extract_memories(mine)) == 1


@pytest.mark.parametrize("start", [0.5, torch.linspace(0.1, 0.9, 15).view(3, 5)])
def test_the_reset_value_is_the_initial_potential(start: Any) -> None:
    net = nn.Sequential(neuron.IFNode(v_reset=None, step_mode="m"))
    mine = replaced(net)
    x = steps(3, 5)
    for one in (net, mine):
        assert one[0].get_reset_value("v") == 0.0
        one[0].set_reset_value("v", start)  # from the next reset on
    assert_equal(mine(x), net(x))
    for one in (net, mine):
        functional.reset_net(one)
        assert torch.equal(torch.as_tensor(one[0].get_reset_value("v")), torch.as_tensor(start))
    assert_equal(mine(x), net(x))
    assert_equal(mine[0].v, net[0].v)


def test_a_start_that_broadcasts_is_no_potential_that_was_kept() -> None:
    mine = replaced(neuron.IFNode(v_reset=None, step_mode="m"))
    mine.set_reset_value("v", torch.full((5,), 0.3))
    mine.reset()
    mine.set_reset_value("v", 0.0)
    mine(steps(3, 5))
    mine.reset()
    assert mine.v == 0.0


def test_steps_of_either_mode_by_name() -> None:
    x = steps(3, 5)
    for step_mode in ("s", "m"):
        theirs = neuron.IFNode(v_reset=None, step_mode=step_mode)
        mine = replaced(theirs)
        for one in x:
            assert_equal(mine.single_step_forward(one), theirs.single_step_forward(one))
        assert_equal(mine.multi_step_forward(x), theirs.multi_step_forward(x))
        assert_equal(mine.v, theirs.v)


def test_a_surrogate_may_be_set_later() -> None:
    x = steps(3, 5)
    grads = []
    theirs = neuron.IFNode(v_reset=None, step_mode="m")
    for one in (theirs, replaced(theirs)):
        one.surrogate_function = surrogate.ATan(alpha=3.0)
        current = x.clone().requires_grad_()
        one(current).sum().backward()
        grads.append(current.grad)
    torch.testing.assert_close(*grads)
    with pytest.raises(ValueError, match=r"is smooth .* a replaced neuron does"):
        replaced(neuron.IFNode()).surrogate_function = surrogate.ATan(spiking=False)


def test_checkpoints_are_what_they_were() -> None:
    net = nn.Sequential(nn.Linear(5, 5), neuron.IFNode(), neuron.HalfThresholdIFNode(0.5))
    checkpoint = copy.deepcopy(net.state_dict())
    replace_neurons(net)
    assert net.state_dict().keys() == checkpoint.keys()
    net.load_state_dict(checkpoint)
    assert not list(net[1].parameters())


def test_hooks_mode_attributes_and_identity_stay() -> None:
    seen: list[str] = []
    node = neuron.IFNode()
    node.label = "first"
    handle = node.register_forward_hook(lambda module, args, out: seen.append(module.label))
    node.register_forward_pre_hook(lambda module, args: seen.append("before"))
    net = nn.ModuleDict({"a": node, "b": node, "c": nn.Sequential(node)}).eval()
    report = replace_neurons(net)
    assert net["a"] is net["b"] is net["c"][0] is node
    assert [(x.path, x.also_at) for x in report.replaced] == [("a", ("b", "c.0"))]
    assert not node.training
    net["b"](torch.ones(2))
    assert seen == ["before", "first"]
    handle.remove()
    net["b"](torch.ones(2))
    assert seen == ["before", "first", "before"]


def test_full_backward_hooks_stay() -> None:
    seen: list[str] = []
    node = neuron.IFNode(step_mode="m")
    node.register_full_backward_hook(lambda module, given, out: seen.append("after"))
    node.register_full_backward_pre_hook(lambda module, out: seen.append("before"))
    replace_neurons(node)
    node(torch.ones(4, 2, requires_grad=True)).sum().backward()
    assert seen == ["before", "after"]


def test_the_network_itself_may_be_a_neuron() -> None:
    node = neuron.IFNode(v_reset=None)
    report = replace_neurons(node)
    assert [layer.path for layer in report.replaced] == [""]
    assert isinstance(node, IFNode)
    assert node(torch.tensor([1.5])).item() == 1.0
    again = replace_neurons(node)
    assert (again.replaced, again.left) == ((), ())


def saved(module: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), saved])
def test_copies_keep_the_state_and_go_their_own_way(copied: Any) -> None:
    node = replaced(neuron.IFNode(v_reset=None))
    x = steps(3, 5)
    node(x[0].clone().requires_grad_())
    twin = copied(node)
    assert type(twin) is type(node)
    assert_equal(twin.v, node.v.detach())
    with torch.no_grad():
        wanted = node(x[1])
        assert_equal(twin(x[1]), wanted)
    twin.reset()
    assert twin.v == 0.0
    assert isinstance(node.v, Tensor)
