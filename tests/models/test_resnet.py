"""Shapes and parameter counts of the ResNets, by hand, and equality with torchvision's."""

from __future__ import annotations

import pytest
import torch
import torchvision

from spikeconv.models import ResNet, ResNetConfig, build_model, cifar_resnet, imagenet_resnet
from spikeconv.models.resnet import PadShortcut


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def cifar_parameters(n: int) -> int:
    """3x3 convolutions and two batch norm parameters a channel, counted without the model."""
    total = 9 * 3 * 16 + 2 * 16
    for channels_in, channels in ((16, 16), (16, 32), (32, 64)):
        total += 9 * channels_in * channels + (2 * n - 1) * 9 * channels * channels
        total += 2 * n * 2 * channels
    return total + 64 * 10 + 10


@pytest.mark.parametrize(("depth", "published"), [(20, 269_722), (32, 464_154)])
def test_cifar_form_has_the_published_number_of_parameters(depth: int, published: int) -> None:
    assert parameters(build_model(f"resnet{depth}")) == published


@pytest.mark.parametrize("depth", [44, 56, 110])
def test_deeper_cifar_forms_have_the_parameters_counted_by_hand(depth: int) -> None:
    assert parameters(build_model(f"resnet{depth}")) == cifar_parameters((depth - 2) // 6)


def test_a_projection_adds_its_convolution_and_batch_norm() -> None:
    added = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert parameters(build_model("resnet20", shortcut="B")) == 269_722 + added


def test_pad_shortcut_keeps_every_second_pixel_between_zero_channels() -> None:
    x = torch.arange(1.0, 19.0).reshape(1, 2, 3, 3)
    y = PadShortcut(2, 5, 2)(x)
    assert y.shape == (1, 5, 2, 2)
    assert y[0, [0, 3, 4]].count_nonzero() == 0
    assert y[0, 1].tolist() == [[1, 3], [7, 9]]
    assert y[0, 2].tolist() == [[10, 12], [16, 18]]


def test_a_small_form_takes_other_channels_widths_and_classes() -> None:
    model = ResNet(cifar_resnet(8, num_classes=7, in_channels=1, widths=(4, 6, 9)))
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


def test_stages_halve_the_image() -> None:
    model = build_model("resnet20").eval()
    seen = {}
    for name in ("layer1", "layer2", "layer3"):
        model.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: tuple(out.shape)})
        )
    model(torch.zeros(1, 3, 32, 32))
    assert seen == {"layer1": (1, 16, 32, 32), "layer2": (1, 32, 16, 16), "layer3": (1, 64, 8, 8)}


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_torchvisions_state_dict_loads_as_it_is(depth: int) -> None:
    theirs = getattr(torchvision.models, f"resnet{depth}")().state_dict()
    ours = build_model(f"resnet{depth}").state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("depth", [18, 50])
def test_logits_equal_torchvisions(depth: int) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=11)
    ours = build_model(f"resnet{depth}", num_classes=11)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=0)


def test_imagenet_stages_run_on_a_cifar_stem() -> None:
    model = build_model("resnet18", stem="cifar", num_classes=10)
    assert model.pool is None
    assert model.conv1.weight.shape == (64, 3, 3, 3)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_stem_can_average_where_it_takes_the_maximum() -> None:
    model = build_model("resnet18", pooling="avg", num_classes=10)
    assert model.state_dict().keys() == build_model("resnet18").state_dict().keys()
    assert model.pool(torch.full((1, 1, 4, 4), 9.0)).tolist() == [[[[4.0, 6.0], [6.0, 9.0]]]]


def test_a_network_says_its_activation() -> None:
    assert str(build_model("resnet8").config).endswith("10 classes)")
    assert str(build_model("resnet8", activation="clip").config).endswith("10 classes, clip)")
    qcfs = build_model("vgg11", form="cifar", activation="qcfs", levels=8)
    assert str(qcfs.config).endswith("1000 classes, qcfs with 8 levels)")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cifar_resnet(21), r"depth must be 6n \+ 2 .*got 21"),
        (lambda: cifar_resnet(2), r"depth must be 6n \+ 2 .*got 2"),
        (lambda: cifar_resnet(20, widths=(16, 32)), "three stages"),
        (lambda: imagenet_resnet(20), r"one of \[18, 34, 50, 101, 152\], got 20"),
        (lambda: ResNetConfig((1, 1), (8,)), "one entry for each stage"),
        (lambda: ResNetConfig((), ()), "one entry for each stage"),
        (lambda: ResNetConfig((1,), (0,)), "must be 1 or more"),
        (lambda: ResNetConfig((1,), (8,), stem="big"), "stem must be"),
        (lambda: ResNetConfig((1,), (8,), shortcut="C"), "shortcut must be"),
        (
            lambda: build_model("resnet18", pooling="min"),
            "pooling must be .*got 'min'",
        ),
        (lambda: build_model("resnet20", pooling="avg"), "the CIFAR stem has no pooling"),
        (lambda: ResNetConfig((1,), (8,), bottleneck=True), "need shortcut 'B'"),
    ],
)
def test_nonsense_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
