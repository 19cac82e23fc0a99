"""Fused networks in files, and surrogates of neurons."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import spikeconv
from spikeconv.fuse.form import PRECISIONS
from spikeconv.surrogate import ATan, Sigmoid
from tests.files.hostile import content, forged, refused
from tests.fuse.nets import exact, images, shape_of


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_fused_network_is_one_again(precision: str, tmp_path: Path) -> None:
    fused = exact("residual", signed=True, precision=precision).fuse(precision)
    fused.save(tmp_path / "snn.safetensors")
    again = spikeconv.load(tmp_path / "snn.safetensors")
    assert again.report().paths == fused.report().paths
    assert precision in fused.report().paths.values()
    x = images(shape_of("residual"), 3)
    with torch.no_grad():
        assert torch.equal(again(x), fused(x))


def test_what_the_kernels_know_as_surrogates_is_kept(tmp_path: Path) -> None:
    snn = exact("strided").trainable(Sigmoid(3.0))
    snn.save(tmp_path / "snn.safetensors")
    again = spikeconv.load(tmp_path / "snn.safetensors")
    wanted = [node.surrogate_function for node in snn.populations().values()]
    assert [node.surrogate_function for node in again.populations().values()] == wanted
    assert all(isinstance(one, Sigmoid) for one in wanted)
    assert ATan() not in wanted


def test_integers_have_no_single_steps_and_no_gradients() -> None:
    fused = exact("strided").fuse()
    with pytest.raises(ValueError, match=r"SpikingNetwork\.stream: the network must not be fused"):
        fused.stream()
    with pytest.raises(ValueError, match=r"SpikingNetwork\.trainable: the network must not be"):
        fused.trainable()


@pytest.mark.parametrize("name", ["strided", "linear", "sequence"])
def test_parameters_of_a_batch_of_one_are_those_of_its_image(name: str, tmp_path: Path) -> None:
    snn, x = exact(name), images(shape_of(name), 3)
    for node in snn.populations().values():
        node.bias = torch.full_like(node.v_threshold, 0.25)
        node.step_bias = torch.stack([node.bias, 2 * node.bias])
    wanted = snn.fuse()(x)
    for node in snn.populations().values():
        for parameter in ("v_threshold", "v_init", "bias"):
            setattr(node, parameter, getattr(node, parameter).unsqueeze(0))
        node.step_bias = torch.stack([node.bias, 2 * node.bias])
    fused = snn.fuse()
    assert "int8" in fused.report().paths.values()
    fused.save(tmp_path / "snn.safetensors")
    with torch.no_grad():
        assert torch.equal(fused(x), wanted)
        assert torch.equal(spikeconv.load(tmp_path / "snn.safetensors")(x), wanted)


def test_a_forged_program_that_cannot_be_fused_is_refused(tmp_path: Path) -> None:
    exact("residual").fuse().save(tmp_path / "snn.safetensors")
    description, tensors = content((tmp_path / "snn.safetensors").read_bytes(), tmp_path)
    added = next(step for step in description["steps"] if step["target"] == "operator.add")
    added["args"].pop()
    assert "it cannot be fused" in refused(forged(description, tensors, tmp_path))
