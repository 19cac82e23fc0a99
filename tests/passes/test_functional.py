"""Functions with weights of a network's own, and weights that a forward computes, become layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import spikeconv
from tests.convert.nets import Net, check, converted, images


def shaped(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape) / 3)


FUNCTIONS: dict[str, tuple[Callable[[Any, Tensor], Tensor], tuple[int, ...], type[nn.Module]]] = {
    "conv2d": (lambda s, h: F.conv2d(h, s.w), (6, 4, 3, 3), nn.Conv2d),
    "all options": (
        lambda s, h: F.conv2d(h, s.w, s.b, (2, 1), [1], dilation=1, groups=2),
        (6, 2, 3, 3),
        nn.Conv2d,
    ),
    "same": (lambda s, h: F.conv2d(h, s.w, padding="same"), (6, 4, 3, 3), nn.Conv2d),
    "transposed": (
        lambda s, h: F.conv_transpose2d(h, s.w, None, 2, 1, 1, 2),
        (4, 3, 3, 3),
        nn.ConvTranspose2d,
    ),
    "computed options": (
        lambda s, h: F.conv2d(h, s.w, padding=s.w.shape[-1] // 2, groups=4 // s.w.shape[1]),
        (6, 2, 3, 3),
        nn.Conv2d,
    ),
    "conv1d": (lambda s, h: F.conv1d(h.flatten(2), s.w, s.b), (6, 4, 5), nn.Conv1d),
    "linear": (lambda s, h: F.linear(h.mean((2, 3)), s.w, bias=s.b), (6, 4), nn.Linear),
    "a product": (lambda s, h: h.mean((2, 3)) @ s.w.t(), (6, 4), nn.Linear),
    "of matrices": (lambda s, h: torch.mm(h.mean((2, 3)), mat2=s.w), (4, 6), nn.Linear),
    "as a method": (lambda s, h: h.permute(0, 2, 3, 1).matmul(s.w), (4, 6), nn.Linear),
    "masked": (lambda s, h: F.conv2d(h, s.w * s.mask, s.b), (6, 4, 3, 3), nn.Conv2d),
    "standardised": (
        lambda s, h: F.conv2d(h, (s.w - s.w.mean()) / s.w.std(), padding=1),
        (6, 4, 3, 3),
        nn.Conv2d,
    ),
    "binarised": (lambda s, h: F.conv2d(h, s.w.sign() / 9), (6, 4, 3, 3), nn.Conv2d),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_a_layer(name: str) -> None:
    function, shape, kind = FUNCTIONS[name]

    def body(s: Net, x: Tensor) -> Any:
        return F.relu(function(s, F.relu(s.c1(x)))).flatten(1)

    net = Net(body, w=shaped(*shape), b=shaped(6), mask=(torch.rand(shape) > 0.4).float())
    snn = check(net, neurons=2)
    assert type(list(snn.layers.values())[2]) is kind
    assert not snn.weights()
    assert not any(p.requires_grad for p in snn.parameters())


def test_a_weight_that_depends_on_the_image_stays_one() -> None:
    net = Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x))) + F.linear(x[:, :1], s.w))))
    net.w = shaped(8, 8)
    assert len(check(net, neurons=2).neurons) == 2


REWRITTEN = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "parametrized": parametrizations.weight_norm,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("name", REWRITTEN)
def test_weights_that_are_computed(name: str, tmp_path: Any) -> None:
    """Such a network becomes integers, learns, is pickled and saved like any other."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), REWRITTEN[name](nn.Conv2d(4, 4, 3)), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip
    snn, x = check(net, neurons=2), images(4)
    paths = snn.fuse().report().paths
    assert [path.partition(":")[0] for path in paths.values()] == ["float", "int8"]
    trainable = converted(net).trainable()
    trainable(x).sum().backward()
    shapes = [(4, 2, 3, 3), (4,), (4, 4, 3, 3), (4,), (3, 64), (3,)]
    assert sorted(tuple(p.shape) for p in trainable.parameters()) == sorted(shapes)
    assert all(parameter.grad is not None for parameter in trainable.parameters())
    snn.save(tmp_path / "snn.safetensors")
    torch.save(snn, tmp_path / "snn.pt")
    loaded = spikeconv.load(tmp_path / "snn.safetensors")
    pickled = torch.load(tmp_path / "snn.pt", weights_only=False)
    assert torch.equal(loaded(x), snn(x)) and torch.equal(pickled(x), snn(x))


def test_a_bias_for_all_outputs(tmp_path: Any) -> None:
    net = Net(lambda s, x: s.fc(F.relu(F.linear(F.relu(s.c1(x)).mean((2, 3)), s.w, s.b))))
    net.w, net.b = shaped(4, 4), shaped(1)
    snn, x = check(net, neurons=2), images(4)
    snn.save(tmp_path / "snn.safetensors")
    assert torch.equal(spikeconv.load(tmp_path / "snn.safetensors")(x), snn(x))


def test_weights_that_many_steps_have_computed() -> None:
    """Each reads the one before it three times, and every value is computed once, however many."""

    def body(s: Net, x: Tensor) -> Any:
        w = s.w / s.w.norm()
        for _ in range(400):
            w = 1.5 * w - 0.5 * w @ w.t() @ w
        return s.fc(F.relu(F.linear(F.relu(s.c1(x)).mean((2, 3)), w)))

    check(Net(body, w=shaped(4, 4)), neurons=2)


def test_batch_norm_behind_a_function_is_folded() -> None:
    net = Net(lambda s, x: s.head(F.relu(s.n(F.conv2d(x, s.w, padding=1)))))
    net.w, net.n = shaped(4, 2, 3, 3), nn.BatchNorm2d(4)
    net.n.running_mean.normal_()
    snn = check(net, neurons=1)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in snn.layers.values())


def test_a_layer_that_is_called_like_a_product() -> None:
    net = nn.Sequential()
    net.add_module("mm", nn.Linear(4, 8))
    net.add_module("relu", nn.ReLU())
    net.add_module("matmul", nn.Linear(8, 3))
    check(net, images(32, 4), neurons=1)
