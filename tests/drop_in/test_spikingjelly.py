"""SpikingJelly 2.0.0: equal spikes and potentials, over calls, resets and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv import IFNode, replace_neurons
from tests.drop_in.libraries import SHAPES, assert_equal, library, replaced, steps

pytestmark = pytest.mark.spikingjelly

neuron: Any = library("spikingjelly.activation_based.neuron")
functional: Any = library("spikingjelly.activation_based.functional")

PER_CHANNEL = torch.tensor([0.3, 0.5, 1.0, 1.25, 2.0])


MAKERS: dict[str, Callable[..., nn.Module]] = {
    "soft": lambda **k: neuron.IFNode(v_reset=None, **k),
    "hard": lambda **k: neuron.IFNode(**k),
    "hard to -0.3": lambda **k: neuron.IFNode(0.7, v_reset=-0.3, **k),
    "soft at 0.1": lambda **k: neuron.IFNode(0.1, None, **k),
    "half": lambda **k: neuron.HalfThresholdIFNode(0.7, **k),
    "channels": lambda **k: neuron.ActivationAwareIFNode(PER_CHANNEL, channel_dim=1, **k),
    "channels, hard": lambda **k: neuron.ActivationAwareIFNode(
        PER_CHANNEL, channel_dim=1, v_reset=0.25, **k
    ),
    "aware, one threshold": lambda **k: neuron.ActivationAwareIFNode(0.6, **k),
}


def runs(shape: tuple[int, ...], step_mode: str) -> list[Tensor]:
    """Inputs of several calls without a reset in between."""
    x = steps(*shape, T=12)
    return list(x) if step_mode == "s" else [x[:5], x[5:6], x[6:]]


@pytest.mark.parametrize("store_v_seq", [False, True])
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("maker", MAKERS)
def test_spikes_and_potentials_are_equal(maker: str, step_mode: str, store_v_seq: bool) -> None:
    for shape in SHAPES:
        theirs = MAKERS[maker](step_mode=step_mode, store_v_seq=store_v_seq)
        mine = replaced(theirs)
        assert isinstance(mine, IFNode)
        for _ in range(2):
            for x in runs(shape, step_mode):
                assert_equal(mine(x), theirs(x))
                assert_equal(mine.v, theirs.v)
                if type(theirs) is not neuron.ActivationAwareIFNode or step_mode == "m":
                    assert_equal(mine.v_seq, theirs.v_seq)  # it keeps no trace of single steps
            for net in (mine, theirs):
                functional.reset_net(net)
            assert mine.v == theirs.v
            assert mine.v_seq is None


def test_the_simple_node_too() -> None:
    for v_reset in (None, 0.0, -0.5):
        theirs = neuron.SimpleIFNode(0.6, v_reset, step_mode="m")
        mine = replaced(theirs)
        for x in runs((2, 5), "m"):
            assert_equal(mine(x), theirs(x))
            assert_equal(mine.v, theirs.v)


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_double_sees_all_digits_of_a_threshold(step_mode: str) -> None:
    for make in (neuron.IFNode, neuron.HalfThresholdIFNode):
        theirs = make(0.1, step_mode=step_mode)
        mine = replaced(theirs)
        for x in runs((2, 5), step_mode):
            assert_equal(mine(x.double()), theirs(x.double()))
            assert_equal(mine.v, theirs.v)


def test_a_potential_in_full_is_what_sixteen_bits_get() -> None:
    mine = replaced(neuron.IFNode(v_reset=None, step_mode="m"))
    x = steps(2, 5)
    for dtype in (torch.float16, torch.bfloat16):
        mine.reset()
        spikes = mine(x.to(dtype))
        assert spikes.dtype == dtype
        assert mine.v.dtype == torch.float32
        assert torch.equal(spikes.float(), IFNode()(x.to(dtype).float()))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_state_is_taken_over_and_so_is_what_reset_goes_back_to(step_mode: str) -> None:
    for make in (neuron.IFNode, neuron.HalfThresholdIFNode, neuron.ActivationAwareIFNode):
        theirs = make(step_mode=step_mode, store_v_seq=True)
        theirs.set_reset_value("v", 0.375)
        for x in runs((2, 5), step_mode):
            theirs(x)
        mine = replaced(theirs)
        assert_equal(mine.v, theirs.v)
        assert_equal(mine.v_seq, theirs.v_seq)
        for _ in range(2):
            for x in runs((2, 5), step_mode):
                assert_equal(mine(x), theirs(x))
            for net in (mine, theirs):
                net.reset()
            assert mine.v == theirs.v == 0.375


def test_a_number_that_was_put_into_v_is_where_it_starts() -> None:
    theirs = neuron.IFNode()
    theirs.v = 0.75
    mine = replaced(theirs)
    assert mine.v == 0.75
    x = torch.tensor([0.25, 0.0])
    assert_equal(mine(x), theirs(x))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_another_batch_shape_is_an_error_until_reset(step_mode: str) -> None:
    net = nn.Sequential(neuron.IFNode(step_mode=step_mode))
    replace_neurons(net)
    time = () if step_mode == "s" else (3,)
    net(torch.ones(*time, 4, 5))
    with pytest.raises(ValueError, match=r"\[4, 5\] neurons.*got \[2, 5\].*reset_net"):
        net(torch.ones(*time, 2, 5))
    functional.reset_net(net)
    net(torch.ones(*time, 2, 5))


def test_state_and_thresholds_move_along() -> None:
    node = replaced(neuron.ActivationAwareIFNode(PER_CHANNEL, channel_dim=1))
    node(steps(2, 5)[0])
    node.to("meta")
    assert node.v.is_meta
    assert node.v_threshold.is_meta


def test_compiled_code_gives_the_same() -> None:
    for step_mode in ("s", "m"):
        torch._dynamo.reset()
        theirs = neuron.IFNode(v_reset=None, step_mode=step_mode)
        compiled = torch.compile(replaced(theirs), backend="aot_eager", fullgraph=True)
        with torch.no_grad():
            for x in runs((2, 5), step_mode):
                assert_equal(compiled(x), theirs(x))
    torch._dynamo.reset()
