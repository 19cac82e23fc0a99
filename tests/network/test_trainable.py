"""A converted network that learns: the same answers, gradients of a loop, and better afterwards."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeconv.convert import SpikingNetwork, convert
from spikeconv.models import build_model
from spikeconv.surrogate import ATan, PiecewiseLinear, Scaled, Sigmoid, Surrogate
from tests.helpers import assert_same


class Residual(nn.Module):
    """A neuron whose spikes a layer, an addition and the readout read; a pool between neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x).relu()
        b = (self.second(a) + a).relu()
        return self.head(b.mean((2, 3)) + 0.5 * a.mean((2, 3)))


def converted(network: nn.Module, *shape: int, **options: Any) -> tuple[SpikingNetwork, Tensor]:
    """A spiking network that is made for 4 steps, and images."""
    torch.manual_seed(0)
    images = torch.rand(16, *shape)
    options = {"method": "opi", "T": 4, "progress": False, **options}
    return convert(network, images, **options), images[:5]


def networks() -> dict[str, tuple[SpikingNetwork, Tensor]]:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3))
    pooled = nn.Sequential(
        *(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.AvgPool2d(2), nn.MaxPool2d(2)),
        *(nn.Conv2d(5, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)),
    )
    return {
        "plain": converted(plain, 6),
        "one step": converted(plain, 6, T=1),
        "corrected": converted(plain, 6, method="best"),
        "delayed": converted(plain, 6, delay=2),
        "silenced": converted(plain, 6, srp=2),
        "pooled": converted(pooled, 2, 16, 16),
        "residual": converted(Residual(), 2, 7, 7),
        "resnet": converted(build_model("resnet8", widths=(4, 4, 4)), 3, 16, 16),
    }


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[SpikingNetwork, Tensor]]:
    return networks()


NAMES = (
    *("plain", "one step", "corrected", "delayed", "silenced"),
    *("pooled", "residual", "resnet"),
)


@pytest.mark.parametrize("name", NAMES)
def test_answers_stay_what_they_were(
    name: str, made: dict[str, tuple[SpikingNetwork, Tensor]]
) -> None:
    snn, images = made[name]
    learning = copy.deepcopy(snn).trainable(thresholds=True)
    for readout in ("mean", "all"):
        wanted = snn(images, readout=readout)
        assert not wanted.requires_grad
        torch.testing.assert_close(learning(images, readout=readout), wanted, rtol=0, atol=1e-5)
        with torch.no_grad():
            assert_same(learning(images, readout=readout), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_and_threshold_has_a_gradient(
    name: str, made: dict[str, tuple[SpikingNetwork, Tensor]]
) -> None:
    snn, images = made[name]
    learning = copy.deepcopy(snn).trainable(thresholds=True)
    output = learning(images)
    output.backward(torch.linspace(-1, 1, output.numel()).view_as(output))
    gradients = {name: p.grad for name, p in learning.named_parameters()}
    unused = {name for name in gradients if name.startswith("originals.")}
    thresholds = {name for name in gradients if name.endswith("v_threshold")}
    assert len(thresholds) == len(learning.neurons)
    for parameter, grad in gradients.items():
        if parameter not in unused:
            assert grad is not None and grad.isfinite().all() and grad.any(), parameter
    # The network that it was made from learns nothing.
    assert not any(p.requires_grad for p in snn.parameters())


class Step(torch.autograd.Function):
    """The step at 0 with a surrogate."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(surrogate(u))
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.saved_tensors[0], None


@pytest.mark.parametrize("detach_reset", [False, True])
def test_gradients_are_those_of_a_plain_loop(detach_reset: bool) -> None:
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3))
    snn, images = converted(ann, 6)
    snn.trainable(PiecewiseLinear(), detach_reset=detach_reset, thresholds=True)
    layers = [snn.layers[name] for name in ("_0", "_2", "_4")]
    nodes = [snn.populations()[name] for name in ("_1", "_3")]
    parameters = [p for layer in layers for p in layer.parameters()]
    parameters += [node.v_threshold for node in nodes]

    def loop(x: Tensor) -> Tensor:
        potentials = [node.v_init for node in nodes]
        total = torch.zeros(())
        for _ in range(4):
            y = x
            for i, node in enumerate(nodes):
                m = potentials[i] + layers[i](y)
                width = node.v_threshold.detach().mean().item()
                s = Step.apply(m - node.v_threshold, PiecewiseLinear(width))
                fell = s.detach() if detach_reset else s
                potentials[i] = m - node.v_threshold * fell
                y = node.v_threshold * s
            total = total + y
        return layers[2](total / 4)

    assert len(parameters) == 8
    torch.testing.assert_close(snn(images), loop(images))
    got = torch.autograd.grad(snn(images).square().sum(), parameters)
    wanted = torch.autograd.grad(loop(images).square().sum(), parameters)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_surrogates_are_in_units_of_the_threshold() -> None:
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    snn, _ = converted(ann, 6)
    (node,) = snn.populations().values()
    theta = node.v_threshold.double().mean().item()
    assert snn.trainable() is snn
    assert node.surrogate_function == ATan(2.0 / theta)
    snn.trainable(Sigmoid(4.0))
    assert node.surrogate_function == Sigmoid(4.0 / theta)

    class Own(Surrogate):
        def derivative(self, u: Tensor) -> Tensor:
            return torch.exp(-u.abs())

    snn.trainable(own := Own())
    assert node.surrogate_function == Scaled(own, theta)


def test_layers_without_thresholds_of_their_own() -> None:
    snn, images = converted(nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)), 6)
    snn.trainable()
    snn(images).sum().backward()
    assert {name.partition(".")[0] for name, _ in snn.named_parameters()} == {"layers"}
    # Asked for later they join; twice is once.
    names = set(snn.state_dict())
    for _ in range(2):
        snn.trainable(thresholds=True)
        assert len([n for n, _ in snn.named_parameters() if n.startswith("neurons.")]) == 1
    assert set(snn.state_dict()) == names


def test_it_learns_what_conversion_lost() -> None:
    # 2 steps are few: the spiking network is far from its ANN, and comes nearer.
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    images, unseen = torch.rand(256, 8), torch.rand(256, 8)
    snn = convert(ann, images, T=2, method="opi", progress=False)

    def error() -> float:
        with torch.no_grad():
            return (snn(unseen) - ann(unseen)).square().mean().item()

    before = error()
    snn.trainable(thresholds=True)
    optimizer = torch.optim.Adam(snn.parameters(), lr=3e-3)
    targets = ann(images).detach()
    for _ in range(60):
        optimizer.zero_grad()
        (snn(images) - targets).square().mean().backward()
        optimizer.step()
    assert error() < 0.7 * before


def test_what_cannot_learn_says_why() -> None:
    ann = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    signed, _ = converted(ann, 6, signed=True)
    with pytest.raises(ValueError, match=r"trainable: neurons must not be signed.*signed=False"):
        signed.trainable()
    snn, images = converted(ann, 6)
    with pytest.raises(TypeError, match=r"SpikingNetwork\.trainable: surrogate_function must"):
        snn.trainable(torch.sigmoid)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="trainable: thresholds must be True or False, got 1"):
        snn.trainable(thresholds=1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="if_multistep has no gradient without a surrogate"):
        snn.requires_grad_()(images).sum().backward()


def test_a_threshold_that_training_drove_below_0_is_an_error() -> None:
    snn, images = converted(nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)), 6)
    snn.trainable(thresholds=True)
    with torch.no_grad():
        next(iter(snn.populations().values())).v_threshold.sub_(1e3)
    with pytest.raises(ValueError, match="v_threshold must be positive and finite"):
        snn(images)


def test_a_network_that_learned_is_a_network_like_others() -> None:
    snn, images = converted(Residual(), 2, 7, 7)
    snn.trainable(thresholds=True)
    optimizer = torch.optim.SGD(snn.parameters(), lr=0.05)
    snn(images).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        answers = snn(images)
        assert_same(copy.deepcopy(snn)(images), answers)
        other, _ = converted(Residual(), 2, 7, 7)
        other.trainable(thresholds=True).load_state_dict(snn.state_dict())
        assert_same(other(images), answers)
    assert len(snn.report(images).rows) == 2
    assert_same(snn.exit_early(images, 1.0).logits, answers)
