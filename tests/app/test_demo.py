"""The demo, shortened, and the pipeline that it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spikeconv import demo
from spikeconv.data import Dataset, load_dataset
from spikeconv.models import load_model


def test_the_demo_from_training_to_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "STEPS", (2, 16))
    monkeypatch.setattr(demo, "ROUNDS", 1)
    plot, weights = tmp_path / "demo.png", tmp_path / "ann.pt"
    demo.demo(plot, epochs=2, save=weights)
    out = capsys.readouterr().out
    for text in (
        "trained for 2 epochs",
        "v_init = theta/2",
        "T = 16",
        "images/s",
        "layer3.0.relu2",
    ):
        assert text in out
    assert str(plot) in out and plot.read_bytes().startswith(b"\x89PNG")
    assert load_model(weights, "resnet8", num_classes=10).config.in_channels == 1


def test_digits_are_learned_converted_and_classified() -> None:
    data = load_dataset("digits")
    ann, accuracy = demo.train(data, epochs=5, seed=0)
    curves, snn = demo.sweep(ann, data, data.train.sample(256))
    assert accuracy > 0.9
    half, zero = curves["v_init = theta/2"], curves["v_init = 0"]
    assert list(half) == [1, 2, 4, 8, 16, 32]
    assert half[32] > accuracy - 0.03
    assert half[4] > zero[4]
    assert snn.T == 16


def test_the_demo_is_the_same_for_the_same_seed() -> None:
    data = load_dataset("digits")
    first, second = (demo.train(data, epochs=1, seed=3)[0].state_dict() for _ in range(2))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)


def test_saved_weights_are_evaluated_on_digits_that_no_seed_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        """What is trained on is known."""

    def trained(data: Dataset, epochs: int, seed: int) -> None:
        assert seed == 3
        assert torch.equal(data.test.raw(torch.arange(360)), measured.raw(torch.arange(360)))
        raise Stop

    measured = load_dataset("digits").test
    monkeypatch.setattr(demo, "train", trained)
    with pytest.raises(Stop):
        demo.demo(tmp_path / "demo.png", seed=3)


def test_nothing_is_trained_for_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        demo.demo(tmp_path / "none" / "demo.png")
    with pytest.raises(ValueError, match="must end with"):
        demo.demo(tmp_path / "demo.txt")
