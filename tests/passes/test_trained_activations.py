"""Clip and QCFS, the activations of networks made to be converted, are rectifiers with a bound."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.activation import QCFS, Clip
from spikeconv.convert import SpikingNetwork
from spikeconv.convert.tune import aims
from spikeconv.network.layers import Rectifier
from spikeconv.passes.examine import without_levels
from tests.convert.nets import Net, check, converted, images, refusal, relative_error


def with_activations(first: nn.Module, second: nn.Module) -> Net:
    return Net(lambda s, x: s.head(s.a2(s.c2(s.a1(s.c1(x))))), a1=first, a2=second)


def rectifiers(snn: SpikingNetwork) -> list[Any]:
    return [snn.layers[step.target] for step in snn.program.neurons()]


def test_clip() -> None:
    """The cap is the bound, kept above 0, and the thresholds are not above it."""
    snn = check(with_activations(Clip(0.7), Clip(0.25)), neurons=2)
    assert [(r.cap, r.levels, r.trained) for r in rectifiers(snn)] == [
        (pytest.approx(0.7), None, True),
        (0.25, None, True),
    ]
    for rectifier, node in zip(rectifiers(snn), snn.populations().values(), strict=True):
        assert node.v_threshold.max() <= rectifier.cap
    driven = Clip(1.0)
    nn.init.constant_(driven.bound, -2.0)
    (first, _) = rectifiers(converted(with_activations(driven, Clip())))
    assert first.cap == driven.cap().item() > 0


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.bfloat16))
@pytest.mark.parametrize("make", (Clip, lambda bound: QCFS(4, bound), lambda bound: QCFS(7, bound)))
def test_the_rectifier_is_the_activation_bit_for_bit(make: Any, dtype: torch.dtype) -> None:
    """Multiples and halves of a step among the currents, which a rounding would move."""
    for bound in (0.3, 1.0, 1.7):
        activation = make(bound).to(dtype)
        snn = converted(nn.Sequential(nn.Flatten(), activation).to(dtype), images(4).to(dtype))
        (rectifier,) = rectifiers(snn)
        steps = torch.arange(-8, 64) / 28 * bound
        x = torch.cat([steps, torch.randn(1000)]).to(dtype)
        with torch.no_grad():
            assert torch.equal(rectifier(x), activation(x))
            assert torch.equal(rectifier.like()(x), activation(x))


def test_a_network_of_qcfs() -> None:
    """As an ANN it is the same, bit for bit, and its rectifiers say their levels."""
    net, x = with_activations(QCFS(4, 0.7), QCFS(8, 0.3)), images(32)
    snn = converted(net, x)
    assert [(r.levels, r.trained) for r in rectifiers(snn)] == [(4, True), (8, True)]
    assert "cap=0.7, levels=4" in repr(snn.layers)
    with torch.no_grad():
        assert torch.equal(snn.analog(x), net(x))


def test_qcfs_in_as_many_steps_as_it_has_levels() -> None:
    """A neuron with theta the bound, from theta / 2, says QCFS of a constant current exactly."""
    net, x = nn.Sequential(nn.Conv2d(2, 4, 3), QCFS(8, 0.5)), images(16)
    snn = converted(net, x, T=8)
    (node,) = snn.populations().values()
    node.v_threshold.fill_(0.5)
    node.v_init.fill_(0.25)
    with torch.no_grad():
        assert torch.equal(snn(x, T=8), net(x))


def test_a_pool_behind_one_moves_before_it() -> None:
    """The moved rectifier keeps its levels."""
    net, x = nn.Sequential(nn.Conv2d(2, 4, 3), QCFS(4, 0.5), nn.MaxPool2d(2)), images(8)
    snn = converted(net, x)
    assert [step.kind for step in snn.program.steps] == ["module", "max_pool", "neuron"]
    assert [r.levels for r in rectifiers(snn)] == [4]
    with torch.no_grad():
        assert torch.equal(snn.analog(x), net(x))


def test_a_bound_after_qcfs_is_not_merged() -> None:
    """min(QCFS(x), a) has other levels than QCFS with bound a."""
    net = Net(lambda s, x: s.head(s.act(s.c1(x)).clamp(max=0.3)), act=QCFS(4, 0.5))
    assert [problem.operation for problem in refusal(net)] == ["Tensor.clamp"]


def test_a_subclass_with_its_own_forward_is_traced_into() -> None:
    class Shifted(Clip):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x + 0.1)

    snn = check(with_activations(Shifted(), Clip(0.4)), neurons=2)
    first, second = rectifiers(snn)
    assert isinstance(first, Rectifier) and not first.trained and second.trained


def test_in_bfloat16_saved_and_loaded(tmp_path: Any) -> None:
    """The network may be in bfloat16 and in training mode; the spiking one keeps its dtype."""
    net, x = with_activations(Clip(0.7), QCFS(4, 0.3)).to(torch.bfloat16).train(), images(16)
    snn = converted(net, x)
    torch.save(snn, tmp_path / "snn.pt")
    loaded = torch.load(tmp_path / "snn.pt", weights_only=False)
    x = x.to(torch.bfloat16)
    assert torch.equal(loaded(x), snn(x))
    with torch.no_grad():
        assert relative_error(loaded.analog(x), net(x)) < 0.02


def test_more_steps_than_levels_come_near_to_the_clipped_network() -> None:
    """What is fitted for T up to the levels aims at the ANN, for more at its bounds alone."""
    net, x = with_activations(QCFS(2, 0.7), QCFS(4, 0.4)), images(64)
    layers = dict(converted(net, x).layers.items())
    for T, kept in ((2, [2, 4]), (3, [None, 4]), (4, [None, 4]), (5, [None, None])):
        found = [layer for layer in aims(layers, T).values() if isinstance(layer, Rectifier)]
        assert [layer.levels for layer in found] == kept
        assert [layer.cap for layer in found] == pytest.approx([0.7, 0.4])
    clipped = with_activations(Clip(0.7), Clip(0.4))
    parts = {k: v for k, v in net.state_dict().items() if not k.startswith(("a1", "a2"))}
    clipped.load_state_dict(parts, strict=False)
    snn = converted(net, x, T=32, corrections=("weights", "search"))
    with torch.no_grad():
        assert relative_error(snn(x), clipped(x)) < relative_error(snn(x), net(x)) / 2


def test_while_images_are_told_apart_steps_only_clip() -> None:
    """Else a current's last bit, which the batch decides, could be a whole level."""
    net, x = with_activations(QCFS(2, 0.7), Clip(0.4)), torch.linspace(-1, 1, 50)
    with torch.no_grad():
        stepped = net.a1(x)
        with pytest.raises(KeyError), without_levels(net):
            assert torch.equal(net.a1(x), x.clamp(0, net.a1.cap()))
            raise KeyError
        assert torch.equal(net.a1(x), stepped) and type(net.a1) is QCFS
