"""Names to configurations."""

from __future__ import annotations

import pytest

from spikeconv.models import MODEL_NAMES, ResNetConfig, VGGConfig, model_config


def test_the_published_models_are_known() -> None:
    resnets = {f"resnet{d}" for d in (20, 32, 44, 56, 110, 18, 34, 50, 101)}
    vggs = {f"vgg{d}{suffix}" for d in (11, 13, 16, 19) for suffix in ("", "_bn")}
    assert resnets | vggs <= set(MODEL_NAMES)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_configuration_knows_its_name(name: str) -> None:
    config = model_config(name)
    assert config.name == name
    assert str(config).startswith(f"{name} (")


def test_depth_chooses_the_form() -> None:
    assert model_config("resnet20") == ResNetConfig((3, 3, 3), (16, 32, 64))
    fifty = model_config("resnet50")
    assert isinstance(fifty, ResNetConfig)
    assert (fifty.stem, fifty.bottleneck, fifty.num_classes) == ("imagenet", True, 1000)
    assert model_config("resnet8").name == "resnet8"


def test_options_replace_fields() -> None:
    config = model_config("vgg11_bn", form="cifar", num_classes=100)
    assert config == VGGConfig(11, True, form="cifar", num_classes=100)


@pytest.mark.parametrize("name", ["resnet21", "resnet20_bn", "vgg12", "resnet", "alexnet", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=rf"resnet20, .*vgg19_bn or .*resnet8, got '{name}'"):
        model_config(name)


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"resnet20 has no option classes; it has .*num_classes"):
        model_config("resnet20", classes=100)
