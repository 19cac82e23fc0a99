"""Files of weights that say what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spikeconv.models import build_model, load_model, read_state_dict
from spikeconv.models.weights import Weights, read_weights, write_weights

THETA = {"relu": torch.ones(2, 4), "layer1.0.relu1": torch.arange(8.0).view(2, 4)}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    about = {"model": "resnet8", "mean": [0.5], "held_out": 0.9, "thresholds_T": [1, 2]}
    state = build_model("resnet8").state_dict()
    write_weights(path, Weights(state, about, THETA))
    read = read_weights(path)
    assert read.about == about
    assert read.state.keys() == state.keys()
    assert all(torch.equal(read.state[name], state[name]) for name in state)
    assert read.thresholds.keys() == THETA.keys()
    assert all(torch.equal(read.thresholds[name], THETA[name]) for name in THETA)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_thresholds_are_no_parameters(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    model = build_model("resnet8", activation="qcfs", levels=3)
    write_weights(path, Weights(model.state_dict(), {"model": "resnet8"}, THETA))
    assert read_state_dict(path).keys() == model.state_dict().keys()
    assert load_model(path, "resnet8").config == model.config


def test_what_weights_do_not_show_is_read_from_the_description(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    model = build_model("vgg11", form="cifar", pooling="avg")
    write_weights(path, Weights(model.state_dict(), {"config": {"pooling": "avg", "depth": 19}}))
    assert load_model(path).config == model.config
    assert load_model(path, pooling="max").config.pooling == "max"


def test_another_programs_file_has_no_description(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"theta.weight": torch.ones(1)}, path, {"format": "pt"})
    assert read_weights(path) == Weights({"theta.weight": torch.ones(1)})


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_description_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(build_model("resnet8").state_dict(), path, {"spikeconv": text})
    with pytest.raises(ValueError, match=r"weights\.safetensors: .*(no JSON|that is a dict)"):
        load_model(path)
