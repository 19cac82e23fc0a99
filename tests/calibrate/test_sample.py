"""What corrections see of a layer: which neurons are drawn, and the error of parameters on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from spikeconv.calibrate import sample as module
from spikeconv.calibrate.sample import ChannelSample, LayerSample
from spikeconv.neuron import IFNode


def numbered(T: int, B: int, C: int, *places: int) -> LayerSample:
    """Activations that say where they are, b, c and place in digits; currents likewise with t."""
    place = torch.arange(max(1, torch.Size(places).numel())).view(places or ())
    b, c = torch.arange(B).view(B, 1), torch.arange(C).view(1, C)
    base = (1000 * b + 100 * c).view(B, C, *[1] * len(places)) + place
    time = 10000 * torch.arange(T).view(T, *[1] * base.dim())
    return LayerSample.of((time + base).float(), base.float())


@pytest.mark.parametrize("places", [(), (5,), (2, 3)])
def test_all_neurons_of_a_small_layer_sorted_by_channel(places: tuple[int, ...]) -> None:
    sample = numbered(3, 4, 2, *places)
    drawn = ChannelSample.of(sample, signed=False)
    current, activation = next(sample.parts())
    assert torch.equal(drawn.activation, activation.movedim(1, 0).flatten(1))
    assert torch.equal(drawn.current, current.movedim(2, 1).flatten(2))


def test_the_same_neurons_of_every_channel_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of them, in order, from all images, alike in each call."""
    monkeypatch.setattr(module, "_NEURONS", 0)
    monkeypatch.setattr(module, "_OF_A_CHANNEL", 12)
    sample = numbered(3, 5, 4, 4, 6)
    drawn = ChannelSample.of(sample, signed=False)
    assert drawn.activation.shape == (4, 12) and drawn.current.shape == (3, 4, 12)
    for c in range(4):
        assert torch.equal(drawn.activation[c], drawn.activation[0] + 100 * c)
    for t in range(3):
        assert torch.equal(drawn.current[t], drawn.activation + 10000 * t)
    first = drawn.activation[0]
    assert bool((first.diff() > 0).all())
    assert set((first // 1000).tolist()) == set(range(5))
    assert torch.equal(ChannelSample.of(sample, signed=False).activation, drawn.activation)


def test_a_width_that_divides_the_stride_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 32 neurons of images 32 wide are not all of one column."""
    monkeypatch.setattr(module, "_NEURONS", 0)
    monkeypatch.setattr(module, "_OF_A_CHANNEL", 64)
    columns = torch.arange(32.0).expand(2, 1, 32, 32)
    drawn = ChannelSample.of(LayerSample.of(columns.unsqueeze(0), columns), signed=False)
    assert drawn.activation.unique().numel() > 16


def test_many_steps_take_fewer_neurons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_VALUES", 48)
    for T, kept in ((1, 20), (2, 12), (8, 3), (100, 1)):
        assert ChannelSample.of(numbered(T, 4, 2, 5), signed=False).activation.shape == (2, kept)


def test_a_constant_current_is_kept_once() -> None:
    current, activation = next(numbered(1, 4, 2, 3, 3).parts())
    sample = LayerSample.of(current.expand(64, -1, -1, -1, -1), activation)
    drawn = ChannelSample.of(sample, signed=False)
    assert drawn.current.shape == (64, 2, 36) and drawn.current.stride(0) == 0
    assert torch.equal(drawn.current[63], drawn.activation)


@pytest.mark.parametrize("kept", [3, 10**6])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_parts_are_one_sample(monkeypatch: pytest.MonkeyPatch, size: int, kept: int) -> None:
    """However the images are divided: the same neurons, and the same mean error."""
    monkeypatch.setattr(module, "_NEURONS", 0)
    monkeypatch.setattr(module, "_OF_A_CHANNEL", kept)
    x, activation = dyadic(0, 4, 5, 2, 3, 3), dyadic(1, 5, 2, 3, 3)
    whole = LayerSample.of(x, activation)

    def parts() -> Iterator[tuple[Tensor, Tensor]]:
        return zip(x.split(size, 1), activation.split(size), strict=True)

    divided = LayerSample(4, 5, (2, 3, 3), parts)
    one, other = (ChannelSample.of(sample, signed=False) for sample in (whole, divided))
    assert torch.equal(one.current, other.current) and torch.equal(one.activation, other.activation)
    node = IFNode(torch.ones(2, 1, 1), torch.full((2, 1, 1), 0.5))
    assert torch.equal(whole.error(node), divided.error(node))


def dyadic(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-16, 24, shape, generator=generator) / 16


@pytest.mark.parametrize("signed", [False, True])
def test_error_is_that_of_the_population(signed: bool) -> None:
    """Exactly, with every parameter, where all neurons are drawn; also when begun half-way."""
    T, C = 4, 3
    x, activation = dyadic(0, T, 8, C, 2, 2), dyadic(1, 8, C, 2, 2)
    theta, start = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([0.5, 0.0, -0.25])
    bias = dyadic(2, T, C) / 4
    shape = (C, 1, 1)
    node = IFNode(
        theta.view(shape),
        (start * theta).view(shape),
        step_bias=(bias * theta).view(T, *shape),
        signed=signed,
    )
    count, _ = node.run(x, emit="count")
    wanted = (count * (node.v_threshold / T) - activation).square().sum((0, 2, 3))
    neurons = ChannelSample.of(LayerSample.of(x, activation), signed)
    assert torch.equal(neurons.error(theta, start, bias), wanted)
    first = neurons.passed(theta, start, bias, None, 1)
    for since in (first, neurons.passed(theta, start, bias, first, 3)):
        assert torch.equal(neurons.error(theta, start, bias, since), wanted)


def test_error_by_hand() -> None:
    """theta 1 from 0: .5 and .5 make a spike, of two steps a mean of .5; the ANN has .5 and 1."""
    sample = LayerSample.of(torch.full((2, 2, 1), 0.5), torch.tensor([[0.5], [1.0]]))
    neurons = ChannelSample.of(sample, signed=False)
    error = neurons.error(torch.ones(1), torch.zeros(1), torch.zeros(2, 1))
    assert error.tolist() == [0.25]
    assert sample.error(IFNode(torch.ones(1))).tolist() == [-0.25]
