"""Starting from other weights: bounds from the file, or from training images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from spikeconv.activation import QCFS, Clip
from spikeconv.calibrate import ChannelHistogram, thresholds
from spikeconv.data import ImageSet
from spikeconv.models.weights import Weights, write_weights
from spikeconv.train.observe import activations, observe
from spikeconv.train.start import start_from
from tests.train.runs import network

INDICES = torch.arange(40)


@pytest.fixture
def relu(tmp_path: Path) -> tuple[nn.Module, Path]:
    """A ReLU network and the file of its weights."""
    model, path = network(), tmp_path / "relu.safetensors"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    write_weights(path, Weights(model.state_dict()))
    return model, path


def received(model: nn.Module, images: ImageSet) -> dict[str, torch.Tensor]:
    """What each activation of a ReLU network receives, by torch's own hooks."""
    seen = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, args, path=path: seen.update({path: args[0].clone()})
        )
        for path, module in activations(model).items()
    ]
    with torch.no_grad():
        model.eval()(images.read(INDICES))
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("kind", ["clip", "qcfs"])
def test_bounds_come_from_training_images_of_the_relu_network(
    images: ImageSet, relu: tuple[nn.Module, Path], kind: str
) -> None:
    ann, path = relu
    model = network(activation=kind, levels=3)
    said = start_from(model, path, images, INDICES)
    currents = received(ann, images)
    assert len(currents) == 7
    for name, current in currents.items():
        bound = model.get_submodule(name).bound.item()
        positive = current.clamp(min=0).flatten()
        assert f"{name} {bound:.4g}" in said
        if kind == "clip":
            assert abs(int((current > bound).sum()) - 0.001 * current.numel()) <= 1
            continue
        error = {
            factor: (QCFS(3, bound * factor)(current) - positive.view_as(current)).square().mean()
            for factor in (0.9, 1.0, 1.1)
        }
        assert min(error, key=lambda factor: error[factor].item()) == 1.0
    for name, tensor in ann.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_the_same_images_give_the_same_bounds_whatever_was_drawn_before(
    images: ImageSet, relu: tuple[nn.Module, Path]
) -> None:
    first, second = network(activation="qcfs"), network(activation="qcfs")
    start_from(first, relu[1], images, INDICES)
    torch.rand(7)
    start_from(second, relu[1], images, INDICES)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_bounds_in_the_file_are_taken_and_the_levels_are_the_models(
    images: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "clip.safetensors"
    clip = network(activation="clip")
    with torch.no_grad():
        for index, module in enumerate(activations(clip).values()):
            module.bound.fill_(index + 1)
    write_weights(path, Weights(clip.state_dict()))
    qcfs = network(activation="qcfs", levels=8)
    assert start_from(qcfs, path, images, INDICES) == f"started from {path}"
    found = [m for m in qcfs.modules() if isinstance(m, QCFS)]
    assert [m.bound.item() for m in found] == [1, 2, 3, 4, 5, 6, 7]
    assert {int(m.levels) for m in found} == {8}
    relu = network()
    start_from(relu, path, images, INDICES)
    assert not any(isinstance(m, Clip) for m in relu.modules())


def test_weights_of_another_shape_are_refused(
    images: ImageSet, relu: tuple[nn.Module, Path]
) -> None:
    from spikeconv.models import build_model

    wanted = r"wanted weights of resnet14 .*, found those of resnet8 "
    with pytest.raises(ValueError, match=wanted):
        start_from(build_model("resnet14", num_classes=3), relu[1], images, INDICES)
    with pytest.raises(ValueError, match=r"wanted weights of vgg11 .*, found those of resnet8"):
        vgg = build_model("vgg11", form="cifar", pooling="avg", num_classes=3)
        start_from(vgg, relu[1], images, INDICES)


def test_a_network_of_bounds_is_observed_as_its_relu_network(
    images: ImageSet, relu: tuple[nn.Module, Path]
) -> None:
    bounded = network(activation="qcfs")
    bounded.load_state_dict(relu[0].state_dict(), strict=False)
    ours = observe(bounded, images, INDICES)
    for name, current in received(relu[0], images).items():
        whole = ChannelHistogram(current.shape[1])
        whole.update(current)
        assert torch.equal(ours[name].counts, whole.counts), name
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in bounded.modules())


def test_thresholds_of_a_layer_that_nothing_excites_stay_positive() -> None:
    dead = ChannelHistogram(2)
    dead.update(-torch.ones(3, 2))
    theta, _ = thresholds(dead, threshold="mse", granularity="layer", T=4, start=0.5, percent=99.9)
    assert theta.tolist() == [1.0]
