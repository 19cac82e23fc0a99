"""Shapes and parameter counts of the VGGs, and equality with torchvision's."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from spikeconv.models import VGGConfig, build_model


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16", "vgg19_bn"])
def test_torchvisions_state_dict_loads_as_it_is(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)().state_dict()
        ours = build_model(name).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_logits_equal_torchvisions() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.vgg16_bn(num_classes=5, init_weights=False)
    ours = build_model("vgg16_bn", num_classes=5)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=0)


def test_cifar_form_has_the_parameters_counted_by_hand() -> None:
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum(9 * a * b + b for a, b in zip([3, *widths], widths, strict=False))
    head = 512 * 10 + 10
    plain = build_model("vgg16", form="cifar", num_classes=10)
    with_norm = build_model("vgg16_bn", form="cifar", num_classes=10)
    assert sum(p.numel() for p in plain.parameters()) == convolutions + head
    assert sum(p.numel() for p in with_norm.parameters()) == convolutions + head + 2 * sum(widths)


@pytest.mark.parametrize(("pooling", "kind"), [("max", nn.MaxPool2d), ("avg", nn.AvgPool2d)])
def test_pooling_can_be_chosen(pooling: str, kind: type[nn.Module]) -> None:
    model = build_model("vgg11", form="cifar", pooling=pooling, num_classes=100)
    pools = [m for m in model.features if isinstance(m, (nn.MaxPool2d, nn.AvgPool2d))]
    assert [type(m) for m in pools] == [kind] * 5
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 12}, r"depth must be one of \[11, 13, 16, 19\], got 12"),
        ({"depth": 11, "form": "tiny"}, "form must be"),
        ({"depth": 11, "pooling": "min"}, "pooling must be"),
        ({"depth": 11, "num_classes": 0}, "must be 1 or more"),
        ({"depth": 11, "dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_nonsense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VGGConfig(**options)  # type: ignore[arg-type]
