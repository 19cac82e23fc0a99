"""Opening weights: every accepted layout, and one clear error for every wrong file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from spikeconv.models import ResNet, build_model, from_state_dict, load_model, read_state_dict

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def small() -> ResNet:
    torch.manual_seed(0)
    model = build_model("resnet8", num_classes=3, widths=(2, 4, 6))
    assert isinstance(model, ResNet)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return model.eval()


def rename(state: State, change: Callable[[str], str]) -> State:
    return {change(name): tensor for name, tensor in state.items()}


def akamaster(state: State) -> dict[str, Any]:
    renamed = rename(state, lambda name: "module." + name.replace("fc.", "linear."))
    old = {k: v for k, v in renamed.items() if not k.endswith("num_batches_tracked")}
    return {"state_dict": old, "best_prec1": 91.7}


LAYOUTS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "state_dict and module.": akamaster,
    "model": lambda state: {"model": state, "epoch": 3},
    "net": lambda state: {"net": rename(state, lambda name: "module." + name), "acc": 90.0},
    "compiled": lambda state: rename(state, lambda name: "_orig_mod." + name),
    "both prefixes": lambda state: rename(state, lambda name: "module._orig_mod." + name),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_layout_gives_the_same_network(
    small: ResNet, tmp_path: Path, layout: str, zipped: bool
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(LAYOUTS[layout](small.state_dict()), path, _use_new_zipfile_serialization=zipped)
    loaded = load_model(path)
    assert loaded.config == small.config
    assert not loaded.training
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), small(x), rtol=0, atol=0)


def test_safetensors(small: ResNet, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(small.state_dict(), path)
    assert load_model(path, "resnet8", num_classes=3).config == small.config
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"weights\.safetensors: wanted a \.safetensors file"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet20", {}),
        ("resnet20", {"shortcut": "B", "num_classes": 100}),
        ("resnet18", {"stem": "cifar"}),
        ("resnet50", {"in_channels": 1}),
        ("vgg11", {"form": "cifar", "num_classes": 10}),
        ("vgg16_bn", {"form": "cifar"}),
        ("vgg19", {"form": "cifar", "in_channels": 1}),
        ("resnet20", {"activation": "clip"}),
        ("resnet18", {"stem": "cifar", "activation": "qcfs", "levels": 8}),
        ("vgg11", {"form": "cifar", "activation": "qcfs", "levels": 2}),
        ("vgg16_bn", {"form": "cifar", "activation": "clip"}),
    ],
)
def test_the_configuration_is_read_from_names_and_shapes(
    name: str, options: dict[str, Any]
) -> None:
    model = build_model(name, **options)
    assert from_state_dict(model.state_dict()).config == model.config


def test_the_imagenet_form_of_a_vgg_is_recognised() -> None:
    from spikeconv.models.infer import infer_config

    with torch.device("meta"):
        model = build_model("vgg13_bn")
    assert infer_config(model.state_dict()) == model.config


def test_a_vgg_is_wanted_as_train_names_it(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pt"
    torch.save(build_model("vgg11_bn", form="cifar").state_dict(), path)
    assert load_model(path, "vgg11").config.name == load_model(path, "vgg11_bn").config.name
    torch.save(build_model("vgg11", form="cifar").state_dict(), path)
    with pytest.raises(ValueError, match="wanted weights of vgg11_bn, found those of vgg11 "):
        load_model(path, "vgg11_bn")


def test_names_used_elsewhere_are_understood() -> None:
    projection = build_model("resnet8", shortcut="B")
    state = rename(
        projection.state_dict(),
        lambda name: name.replace("downsample", "shortcut").replace("fc.", "linear."),
    )
    assert from_state_dict(state).config == projection.config
    vgg = build_model("vgg11", form="cifar", num_classes=10)
    state = rename(vgg.state_dict(), lambda name: name.replace("classifier.0", "classifier"))
    assert from_state_dict(state, pooling="avg").config.pooling == "avg"


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pt: wanted a file of weights"):
        load_model(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="wanted a file of weights, found a folder"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"a text file\n", b'{"json": 1}', bytes(range(256)), b"PK\x03\x04 no zip"]
)
def test_a_file_that_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.pt: wanted a checkpoint .* found something"):
        load_model(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_file(small: ResNet, tmp_path: Path, zipped: bool, kept: float) -> None:
    path = tmp_path / "weights.pt"
    torch.save(small.state_dict(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ValueError, match=r"weights\.pt: wanted a checkpoint .* is damaged"):
        load_model(path)


class Attack:
    """Unpickles by running a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "ran"
    torch.save({"state_dict": Attack(trace)}, path)
    with pytest.raises(ValueError, match=r"wanted weights only, found .* code \('\w+\.system'\)"):
        load_model(path)
    assert not trace.exists()


def test_a_whole_pickled_model_is_refused_with_advice(small: ResNet, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(small, path)
    with pytest.raises(ValueError, match=r"Save model\.state_dict\(\) instead"):
        load_model(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (torch.zeros(3), "found a Tensor"),
        ([torch.zeros(3)], "found a list"),
        ({}, "found none"),
        ({"epoch": 3}, "found 'epoch': int"),
        ({"state_dict": {"conv1.weight": "text"}}, "found 'conv1.weight': str"),
        ({"a.weight": torch.zeros(3)}, "found a.weight, which are the parameters of no ResNet"),
        ({"features.0.weight": torch.zeros(8, 3, 3, 3)}, "those of no VGG"),
    ],
    ids=["tensor", "list", "empty", "numbers", "text", "other names", "half a VGG"],
)
def test_something_else_than_the_weights_of_a_network(
    tmp_path: Path, content: object, found: str
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf"weights\.pt: .*{re.escape(found)}"):
        load_model(path)


def test_another_architecture_or_number_of_classes(small: ResNet, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(small.state_dict(), path)
    with pytest.raises(ValueError, match=r"wanted weights of resnet20, found those of resnet8 \("):
        load_model(path, "resnet20")
    with pytest.raises(ValueError, match=r"wanted weights of vgg16, found those of resnet8 \("):
        load_model(path, "vgg16")
    with pytest.raises(ValueError, match=r"wanted 10 classes, found weights of resnet8 .* 3 class"):
        load_model(path, num_classes=10)


def test_a_foreign_architecture_of_torchvision(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    with pytest.raises(ValueError, match="wanted weights of resnet18; found "):
        load_model(path, "resnet18")


def change(name: str, make: Callable[[Tensor], Tensor | None]) -> Callable[[State], State]:
    def apply(state: State) -> State:
        changed = make(state[name])
        state = {k: v for k, v in state.items() if k != name}
        return state if changed is None else {**state, name: changed}

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("layer2.0.bn1.bias", lambda _: None), r"Missing key.*layer2\.0\.bn1\.bias"),
        (change("layer2.0.bn1.bias", lambda t: t[:1]), r"size mismatch for layer2\.0\.bn1\.bias"),
        (change("fc.weight", lambda _: None), r"found no fc\.weight"),
        (change("fc.weight", lambda t: t[0]), r"found fc\.weight of shape \[6\]"),
        (change("conv1.weight", lambda t: t[..., :2, :2]), "not 3x3 or 7x7"),
        (lambda s: {**s, "extra.weight": torch.zeros(1)}, r"Unexpected key.*extra\.weight"),
        (change("layer1.0.conv1.weight", lambda t: t * torch.nan), r"found NaN or infinity in la"),
        (lambda s: {**s, "relu.bound": torch.ones(())}, r"Missing key.*layer1\.0\.relu1\.bound"),
    ],
    ids=["missing", "shape", "no head", "flat head", "odd stem", "extra", "nan", "one bound"],
)
def test_damaged_weights_load_strictly(
    small: ResNet, tmp_path: Path, damage: Callable[[State], State], message: str
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(damage(dict(small.state_dict())), path)
    with pytest.raises(ValueError, match=rf"weights\.pt: .*{message}") as raised:
        load_model(path)
    assert "\n" not in str(raised.value)


def test_reading_keeps_the_tensors(small: ResNet, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": small.state_dict()}, path)
    state = read_state_dict(str(path))
    assert list(state) == list(small.state_dict())
    assert all(torch.equal(state[name], small.state_dict()[name]) for name in state)
