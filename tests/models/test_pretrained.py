"""Shipped weights: found by name, converted with and without images. Here with small stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeconv.calibrate import ChannelHistogram, thresholds
from spikeconv.models import (
    PRETRAINED,
    SpikingResNet,
    SpikingVGG,
    build_model,
    load_pretrained,
    pretrained,
    pretrained_about,
)
from spikeconv.models.weights import Weights, write_weights

STEPS = [1, 4, 16]


@pytest.fixture
def x() -> Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x: Tensor) -> Path:
    """A folder with weights of both names, of narrow networks with thresholds from x."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    torch.manual_seed(0)
    relu = build_model("resnet8", widths=(4, 4, 8)).eval()
    qcfs = build_model("resnet8", widths=(4, 4, 8), activation="qcfs", levels=4).eval()
    with torch.no_grad():
        for index, parameter in enumerate(p for n, p in qcfs.named_parameters() if "bound" in n):
            parameter.fill_(2 + index / 8)
    theta: dict[str, Tensor] = {}

    def fit(path: str, currents: Tensor) -> None:
        seen = ChannelHistogram(currents.shape[1])
        seen.update(currents)
        options = ("mse", "channel", 0.5, 100)
        named = dict(zip(("threshold", "granularity", "start", "percent"), options, strict=True))
        theta[path] = torch.stack([thresholds(seen, T=T, **named)[0] for T in STEPS])

    for path, module in relu.named_modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_pre_hook(lambda _, args, path=path: fit(path, args[0]))
    with torch.no_grad():
        relu(x)
    about = {"image_shape": [3, 8, 8], "mean": [0.5] * 3}
    for name, model, more in (
        ("resnet20-cifar10", relu, {"thresholds_T": STEPS}),
        ("resnet20-cifar10-qcfs", qcfs, {}),
    ):
        held = theta if more else {}
        file = tmp_path / f"{name}.safetensors"
        write_weights(file, Weights(model.state_dict(), {**about, **more}, held))
    return tmp_path


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_ann_is_that_of_the_file(shipped: Path, x: Tensor, name: str) -> None:
    ann = load_pretrained(name)
    assert not ann.training
    assert ann.config.activation == ("qcfs" if name.endswith("qcfs") else "relu")
    assert pretrained_about(name)["mean"] == [0.5] * 3
    snn = SpikingResNet.from_pretrained(name, T=4)
    with torch.no_grad():
        torch.testing.assert_close(snn.analog(x), ann(x), rtol=1e-3, atol=1e-3)
        assert snn(x, readout="all").shape == (4, 6, 10)
    assert type(snn) is SpikingResNet and snn.T == 4


def test_a_trained_step_is_the_threshold_and_half_of_it_the_start(shipped: Path) -> None:
    ann = load_pretrained("resnet20-cifar10-qcfs")
    snn = SpikingResNet.from_pretrained("resnet20-cifar10-qcfs")
    rows = snn.report().rows
    assert len(rows) == 7
    for row in rows:
        node, activation = snn.neurons[row.name], ann.get_submodule(row.layer)
        assert node.v_threshold.item() == activation.bound.item()
        assert node.v_init.item() == activation.bound.item() / 2


def test_stored_thresholds_are_those_of_calibration(shipped: Path, x: Tensor) -> None:
    name = "resnet20-cifar10"
    given = SpikingResNet.from_pretrained(name, T=4)
    measured = SpikingResNet.from_pretrained(
        name, x, T=4, threshold="mse", corrections=(), progress=False
    )
    for key, node in measured.neurons.items():
        # Batch norm is folded in one and not in the other, which moves a current by a rounding.
        torch.testing.assert_close(
            given.neurons[key].v_threshold, node.v_threshold, rtol=1e-3, atol=1e-6
        )


def test_between_two_T_thresholds_lie_between(shipped: Path) -> None:
    at = {T: SpikingResNet.from_pretrained("resnet20-cifar10", T=T) for T in (4, 8, 16, 64)}
    for key in at[4].neurons:
        four, eight, sixteen, more = (at[T].neurons[key].v_threshold for T in at)
        torch.testing.assert_close(eight, (four + sixteen) / 2)
        assert torch.equal(more, sixteen)


def test_the_choices_that_need_no_images(shipped: Path, x: Tensor) -> None:
    snn = SpikingResNet.from_pretrained("resnet20-cifar10", T=2, v_init="zero", signed=True)
    assert all(node.signed and not node.v_init.any() for node in snn.neurons.values())
    unmeasured = snn.report()
    assert unmeasured.images == 0 and "7 neuron layers" in str(unmeasured)
    assert all(0 <= row.firing_rate <= 1 for row in snn.report(x).rows)
    with pytest.raises(ValueError, match="threshold, percentile needs calibration images"):
        SpikingResNet.from_pretrained("resnet20-cifar10", threshold="max", percentile=99)


def test_a_seed_draws_random_potentials_without_images(shipped: Path) -> None:
    def drawn(**options: Any) -> list[Tensor]:
        snn = SpikingResNet.from_pretrained("resnet20-cifar10", v_init="uniform", **options)
        return [node.v_init for node in snn.neurons.values()]

    first = drawn()
    assert all(map(torch.equal, first, drawn(seed=0)))
    assert not any(map(torch.equal, first, drawn(seed=1)))


def test_a_wrong_name_a_missing_file_and_a_wrong_kind(shipped: Path) -> None:
    known = r"one of 'resnet20-cifar10' \(.*'resnet20-cifar10-qcfs' .*, got 'resnet20'"
    with pytest.raises(ValueError, match=known):
        SpikingResNet.from_pretrained("resnet20")
    with pytest.raises(TypeError, match="must have no residual addition"):
        SpikingVGG.from_pretrained("resnet20-cifar10")
    (shipped / "resnet20-cifar10.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="missing in this installation"):
        load_pretrained("resnet20-cifar10")


def test_an_activation_without_a_threshold_is_named(shipped: Path) -> None:
    bare = Weights(load_pretrained("resnet20-cifar10").state_dict(), {"image_shape": [3, 8, 8]})
    write_weights(shipped / "resnet20-cifar10.safetensors", bare)
    with pytest.raises(ValueError, match="activation 'relu', which has no trained bound"):
        SpikingResNet.from_pretrained("resnet20-cifar10")


@pytest.mark.parametrize("v_init", ["uniform", "gaussian"])
def test_random_potentials_are_drawn_without_images_too(shipped: Path, v_init: str) -> None:
    snn = SpikingResNet.from_pretrained("resnet20-cifar10", T=4, v_init=v_init)
    again = SpikingResNet.from_pretrained("resnet20-cifar10", T=4, v_init=v_init)
    for name, node in snn.populations().items():
        start = node.v_init / node.v_threshold
        assert len(start.unique()) > start.numel() // 2  # of every neuron its own
        assert torch.equal(node.v_init, again.populations()[name].v_init)


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_weights_that_are_shipped(name: str) -> None:
    ann = load_pretrained(name)
    bounds = 19 if name.endswith("qcfs") else 0  # one for each activation
    assert sum(p.numel() for p in ann.parameters()) == 269_722 + bounds
    assert pretrained_about(name)["image_shape"] == [3, 32, 32]
    logits = SpikingResNet.from_pretrained(name, T=2)(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 10) and bool(torch.isfinite(logits).all())


def test_a_file_of_your_own_is_as_good_as_a_name(shipped: Path, x: Tensor) -> None:
    for name in PRETRAINED:
        path = shipped / f"{name}.safetensors"
        by_name = SpikingResNet.from_pretrained(name, T=4)
        for given in (path, str(path)):
            assert torch.equal(SpikingResNet.from_pretrained(given, T=4)(x), by_name(x))
        assert pretrained_about(path) == pretrained_about(name)


def test_a_file_that_says_nothing_of_its_images(tmp_path: Path, x: Tensor) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, Weights(build_model("resnet8", widths=(4, 4, 8)).state_dict()))
    with pytest.raises(ValueError, match=r"does not say for which images it is, .*; give calib"):
        SpikingResNet.from_pretrained(path, T=4)
    assert SpikingResNet.from_pretrained(path, x, T=4, progress=False)(x).shape == (6, 10)
    with pytest.raises(FileNotFoundError, match="wanted a file of weights, found nothing there"):
        SpikingResNet.from_pretrained(tmp_path / "none.safetensors", T=4)
    with pytest.raises(TypeError, match="SpikingResNet: T must be"):
        SpikingResNet.from_pretrained(path, T="4")  # type: ignore[arg-type]
