"""The search over a channel's parameters: known optima, and what it never does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikeconv.calibrate.sample import LayerSample
from spikeconv.calibrate.search import search
from spikeconv.neuron import IFNode


def errors(node: IFNode, sample: LayerSample) -> Tensor:
    """Squared error of each channel, of all neurons."""
    current, activation = next(sample.parts())
    count, _ = node.run(current, emit="count")
    difference = count * (node.v_threshold / sample.T) - activation
    return difference.movedim(1, 0).flatten(1).square().sum(1)


def half(theta: Tensor, **options: bool) -> IFNode:
    return IFNode(theta, theta / 2, **options)


def test_a_late_train_gets_its_spike() -> None:
    """All charge comes in the last of two steps, where theta / 2 lets only one spike out of it.

    With two thetas of charge the ANN has 1; 1/2 + 0 is quiet, then 2.5 fires once. A start or a
    bias of half a theta more, and the first step fires as well.
    """
    x = torch.tensor([0.0, 2.0]).view(2, 1, 1)
    sample = LayerSample.of(x, torch.ones(1, 1))
    before = half(torch.ones(1))
    assert errors(before, sample).tolist() == [0.25]
    after = search(before, sample)
    assert errors(after, sample).item() < 1e-3


def test_a_spike_that_comes_too_early_is_held_back() -> None:
    """.75 then -.75 is nothing in the ANN; from theta / 2 the first step fires, for good.

    Beside it .25 and .75 are one spike, which must stay.
    """
    x = torch.tensor([[0.75, 0.25], [-0.75, 0.75]]).view(2, 2, 1)
    sample = LayerSample.of(x, torch.tensor([[0.0], [0.5]]))
    before = half(torch.ones(1))
    assert errors(before, sample).tolist() == [0.25]
    assert errors(search(before, sample), sample).tolist() == [0.0]


def test_a_threshold_that_is_too_large_shrinks() -> None:
    """A current of 1 in four steps of theta 1.25: three spikes, 0.9375. At 1 it is exact."""
    sample = LayerSample.of(torch.ones(4, 1, 1), torch.ones(1, 1))
    before = half(torch.full((1,), 1.25))
    assert errors(before, sample).tolist() == [0.0625**2]
    assert errors(search(before, sample), sample).item() < 1e-4


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("T", [1, 3, 12])
def test_no_channel_gets_worse(T: int, signed: bool) -> None:
    generator = torch.Generator().manual_seed(T)
    x = torch.randn(T, 16, 6, 3, 3, generator=generator) * 0.7 + 0.1
    sample = LayerSample.of(x, x.mean(0).clamp(min=0))
    theta = torch.linspace(0.5, 2.0, 6).view(6, 1, 1)
    before = half(theta, signed=signed)
    after = search(before, sample)
    # Parameters are kept in units of theta, so a current may round to the other side of it.
    assert bool((errors(after, sample) <= errors(before, sample) * 1.001).all())
    assert errors(after, sample).sum() < 0.9 * errors(before, sample).sum()
    assert after.signed == signed and after.bias is None
    assert after.v_threshold.shape == (6, 1, 1) and after.v_init.shape == (6, 1, 1)
    assert after.step_bias is not None and after.step_bias.shape == (T, 6, 1, 1)


def test_a_channel_does_not_depend_on_the_others() -> None:
    x = torch.randn(4, 8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    all_three = search(half(torch.ones(3, 1, 1)), LayerSample.of(x, x.mean(0).clamp(min=0)))
    one = x[:, :, 1:2]
    alone = search(half(torch.ones(1, 1, 1)), LayerSample.of(one, one.mean(0).clamp(min=0)))
    assert torch.equal(alone.v_threshold[0], all_three.v_threshold[1])
    assert torch.equal(alone.v_init[0], all_three.v_init[1])


def test_it_starts_from_the_biases_that_are_there() -> None:
    """What is right with its biases stays, bit for bit: .5 + .5 is quiet, 1 + 1 fires at 2."""
    sample = LayerSample.of(torch.zeros(2, 4, 1), torch.ones(4, 1))
    biases = {"bias": torch.tensor([0.5]), "step_bias": torch.tensor([[0.0], [0.5]])}
    before = IFNode(torch.tensor([2.0]), torch.tensor([0.5]), **biases)
    assert errors(before, sample).tolist() == [0.0]
    after = search(before, sample)
    assert (after.v_threshold.item(), after.v_init.item(), after.bias) == (2.0, 0.5, None)
    assert after.step_bias is not None and after.step_bias.flatten().tolist() == [0.5, 1.0]


def test_a_silent_channel_stays_as_it_is() -> None:
    sample = LayerSample.of(torch.full((4, 8, 1), -1.0), torch.zeros(8, 1))
    after = search(half(torch.tensor([2.0])), sample)
    assert (after.v_threshold.item(), after.v_init.item()) == (2.0, 1.0)
    assert after.step_bias is not None and not bool(after.step_bias.any())


def test_broken_currents_change_nothing() -> None:
    x = torch.tensor([float("nan"), 1.0]).expand(4, 2).unsqueeze(2)
    after = search(half(torch.ones(1)), LayerSample.of(x, torch.tensor([[float("nan")], [1.0]])))
    assert (after.v_threshold.item(), after.v_init.item()) == (1.0, 0.5)


def test_one_parameter_for_a_layer_becomes_one_a_channel() -> None:
    """Potentials of single neurons are averaged over their channel before the search."""
    x = torch.rand(2, 8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    start = torch.tensor([0.0, 1.0]).expand(3, 2, 2)
    after = search(IFNode(1.0, start), LayerSample.of(x, x.mean(0)))
    assert after.v_threshold.shape == after.v_init.shape == (3, 1, 1)
    same = search(IFNode(1.0, 0.5), LayerSample.of(x, x.mean(0)))
    assert torch.equal(after.v_init, same.v_init)
