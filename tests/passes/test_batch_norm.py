"""Batch norm: folded where it follows a layer of its own, kept as what it is elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import SpikingNetwork
from tests.convert.nets import Net, check, images, settled


def kept(snn: SpikingNetwork) -> list[str]:
    """Where batch norms are left."""
    norms = nn.modules.batchnorm._BatchNorm
    return [
        step.label
        for step in snn.program.steps
        if step.kind == "module" and isinstance(snn.layers[step.target], norms)
    ]


def test_convolution() -> None:
    """w' = w g / sqrt(var + eps), b' = (b - mean) g / sqrt(var + eps) + beta, in numbers."""
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, eps=0.25), nn.ReLU())
    conv, norm = net[0], net[1]
    nn.init.constant_(conv.weight, 3)
    nn.init.constant_(conv.bias, 1)
    norm.running_mean.copy_(torch.tensor([5.0, -1]))
    norm.running_var.copy_(torch.tensor([3.75, 0.75]))  # roots 2 and 1
    norm.weight.data.copy_(torch.tensor([4.0, 0.5]))
    norm.bias.data.copy_(torch.tensor([0.5, 7]))
    snn = check(net.eval(), neurons=1)
    layer = snn.layers[snn.program.steps[0].target]
    assert layer.weight.flatten().tolist() == [6, 6, 1.5, 1.5]
    assert layer.bias.tolist() == [-7.5, 8]


@pytest.mark.parametrize(
    ("layers", "shape"),
    (
        ([nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4)], (2, 9)),
        ([nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)], (2, 8, 8)),
        ([nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4)], (2, 4, 4, 4)),
        ([nn.Conv2d(2, 4, 3, groups=2, stride=2), nn.BatchNorm2d(4)], (2, 8, 8)),
        ([nn.Conv2d(2, 2, 3, groups=2, padding=1), nn.BatchNorm2d(2, affine=False)], (2, 8, 8)),
        ([nn.ConvTranspose1d(2, 4, 3), nn.BatchNorm1d(4)], (2, 9)),
        ([nn.ConvTranspose2d(2, 4, 3, stride=2), nn.BatchNorm2d(4)], (2, 5, 5)),
        ([nn.ConvTranspose3d(2, 3, 2), nn.BatchNorm3d(3)], (2, 3, 3, 3)),
        ([nn.Linear(6, 4), nn.BatchNorm1d(4)], (6,)),
        ([nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4)], (6,)),
        ([nn.Linear(6, 4), nn.BatchNorm1d(4, affine=False)], (6,)),
        ([nn.Linear(6, 4), nn.SyncBatchNorm(4)], (6,)),
        ([nn.Conv2d(2, 4, 3), nn.SyncBatchNorm(4, affine=False)], (2, 8, 8)),
        ([nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4, track_running_stats=True)], (2, 9)),
        ([nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, 0.1, 0.1, True, True)], (2, 8, 8)),
        ([nn.Conv3d(2, 4, 2), nn.InstanceNorm3d(4, track_running_stats=True)], (2, 4, 4, 4)),
    ),
)
def test_folded(layers: list[nn.Module], shape: tuple[int, ...]) -> None:
    snn = check(settled(nn.Sequential(*layers, nn.ReLU())), images(32, *shape), neurons=1)
    assert kept(snn) == []


def test_subclasses_that_change_nothing_are_folded() -> None:
    class Convolution(nn.Conv2d):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__(inputs, outputs, 3, bias=False)

    class Norm(nn.BatchNorm2d):
        """Another name."""

    assert (
        kept(check(settled(nn.Sequential(Convolution(2, 4), Norm(4), nn.ReLU())), neurons=1)) == []
    )


@pytest.mark.parametrize(
    ("layers", "shape", "where"),
    (
        # Before a layer, whose padding the norm's shift must not enter.
        ([nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3, padding=1)], (2, 8, 8), ["0"]),
        ([nn.Conv2d(2, 4, 3), nn.AvgPool2d(2), nn.BatchNorm2d(4)], (2, 8, 8), ["2"]),
        ([nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4)], (2, 8, 8), ["2"]),
        # Of [B, L, F] dimension 1 is normalised, and the layer is over dimension 2.
        ([nn.Linear(6, 4), nn.BatchNorm1d(3)], (3, 6), ["1"]),
        ([nn.ConvTranspose2d(2, 4, 3, groups=2), nn.BatchNorm2d(4)], (2, 5, 5), ["1"]),
        # Only the first of two can be folded.
        ([nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)], (2, 8, 8), []),
    ),
)
def test_kept_or_folded_again(
    layers: list[nn.Module], shape: tuple[int, ...], where: list[str]
) -> None:
    snn = check(settled(nn.Sequential(*layers, nn.ReLU())), images(32, *shape), neurons=1)
    assert kept(snn) == where


def test_pre_activation() -> None:
    """norm -> relu -> convolution, twice, with a shortcut around: the first norm stays."""

    def body(s: Net, x: Tensor) -> Any:
        h = s.c1(x)
        return s.head(h + s.c2(F.relu(s.n2(s.c2(F.relu(s.n1(h)))))))

    snn = check(settled(Net(body, n1=nn.BatchNorm2d(4), n2=nn.BatchNorm2d(4))), neurons=2)
    assert kept(snn) == ["n1"]  # c1's other reader wants it without; n2 goes into c2's first call


def test_one_convolution_with_two_norms() -> None:
    """Each call site gets weights of its own."""

    def body(s: Net, x: Tensor) -> Any:
        h = F.relu(s.n1(s.c2(F.relu(s.c1(x)))))
        return s.head(F.relu(s.n2(s.c2(h))) + s.c2(h))

    norms = {"n1": nn.BatchNorm2d(4), "n2": nn.BatchNorm2d(4)}
    assert kept(check(settled(Net(body, **norms)), neurons=3)) == []


def test_one_norm_after_two_convolutions() -> None:
    def body(s: Net, x: Tensor) -> Any:
        return s.head(F.relu(s.n(s.c2(F.relu(s.n(s.c1(x)))))))

    assert kept(check(settled(Net(body, n=nn.BatchNorm2d(4))), neurons=2)) == []


def test_a_value_that_others_read_is_not_folded_away() -> None:
    def body(s: Net, x: Tensor) -> Any:
        h = s.c1(x)
        return s.head(F.relu(s.n(h)) + F.relu(h))

    assert kept(check(settled(Net(body, n=nn.BatchNorm2d(4))), neurons=2)) == ["n"]


def test_as_a_function() -> None:
    def body(s: Net, x: Tensor) -> Any:
        y = F.batch_norm(s.c1(x), s.mean, s.var, s.gamma, s.beta, s.training, 0.1, 1e-3)
        return s.head(F.relu(y))

    net = Net(body, gamma=nn.Parameter(torch.rand(4)), beta=nn.Parameter(torch.rand(4)))
    net.register_buffer("mean", torch.randn(4))
    net.register_buffer("var", torch.rand(4) + 0.5)
    snn = check(net, neurons=1)
    assert kept(snn) == []
    assert all("int8" in path for path in list(snn.fuse().report().paths.values())[1:])


@pytest.mark.parametrize("given", ([], ["gamma"], ["beta"]))
def test_as_a_function_behind_neurons(given: list[str]) -> None:
    """A weight alone, a bias alone, or none; by name."""

    def body(s: Net, x: Tensor) -> Any:
        weights = {"weight": s.gamma, "bias": s.beta}
        h = F.batch_norm(input=F.relu(s.c1(x)), running_mean=s.mean, running_var=s.var, **weights)
        return s.head(F.relu(s.c2(h)))

    net = Net(body, gamma=None, beta=None)
    for name in given:
        setattr(net, name, nn.Parameter(torch.rand(4) + 0.5))
    net.register_buffer("mean", torch.randn(4) / 4)
    net.register_buffer("var", torch.rand(4) + 0.5)
    assert len(kept(check(net, neurons=2))) == 1


class NormWithActivation(nn.BatchNorm2d):
    """As timm has it: a batch norm that calls the function itself, and then its activation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        torch._assert(x.ndim == 4, f"expected 4D input, got {x.ndim}D")
        training = self.training or (self.running_mean is None and self.running_var is None)
        statistics = self.running_mean, self.running_var
        weights = self.weight, self.bias
        return self.act(F.batch_norm(x, *statistics, *weights, training, self.momentum, self.eps))


def test_with_an_activation_inside() -> None:
    parts = nn.Conv2d(2, 4, 3), NormWithActivation(4), nn.Conv2d(4, 4, 3), NormWithActivation(4)
    net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    snn = check(settled(net), neurons=2)
    assert kept(snn) == []
    assert [row.layer for row in snn.report().rows] == ["1.act", "3.act"]
    assert snn.fuse().report().paths["_3_act"] == "int8"


def test_after_pooling_that_moved_before_the_neuron() -> None:
    norm = settled(nn.BatchNorm2d(4))
    net = nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.MaxPool2d(2))
    assert kept(check(net, neurons=1)) == []


def test_normalised_weights_are_folded_too() -> None:
    """torch's weight and spectral norm compute the weight anew at every call; here it is fixed."""
    weight_norm = nn.utils.parametrizations.weight_norm
    spectral_norm = nn.utils.parametrizations.spectral_norm
    net = nn.Sequential(
        weight_norm(nn.Conv2d(2, 4, 3)),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        spectral_norm(nn.Conv2d(4, 4, 3)),
        nn.ReLU(),
    )
    snn = check(settled(net), neurons=2)
    assert kept(snn) == []
    assert not any(map(nn.utils.parametrize.is_parametrized, snn.modules()))
    assert nn.utils.parametrize.is_parametrized(net[0])
