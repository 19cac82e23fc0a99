"""Weights in 8 bits: by hand, within half a scale, and through a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spikeconv.cli import main
from spikeconv.models import build_model, load_model
from spikeconv.models.rounded import from_int8, to_int8
from spikeconv.models.weights import Weights, read_weights, write_weights


def test_rows_by_hand() -> None:
    rounded = to_int8({"w": torch.tensor([[127.0, -3.4], [0.0, 0.0], [-254.0, 5.1]])})
    assert rounded["w"].dtype == torch.int8
    assert rounded["w"].tolist() == [[127, -3], [0, 0], [-127, 3]]
    assert rounded["scale.w"].tolist() == [1.0, 0.0, 2.0]
    assert from_int8(rounded)["w"].tolist() == [[127.0, -3.0], [0.0, 0.0], [-254.0, 6.0]]


def test_no_weight_moves_by_more_than_half_a_scale_and_all_else_stays() -> None:
    torch.manual_seed(0)
    state = build_model("vgg11", form="cifar", batch_norm=True, num_classes=3).state_dict()
    again = from_int8(to_int8(state))
    assert list(again) == list(state)
    for name, before in state.items():
        assert again[name].dtype == before.dtype and again[name].shape == before.shape
        if before.ndim < 2:
            assert torch.equal(again[name], before)
            continue
        half = before.flatten(1).abs().amax(1) / 254
        moved = (again[name] - before).flatten(1).abs().amax(1)
        assert (moved <= half * (1 + 1e-5)).all() and (moved > 0).any()


def test_what_is_rounded_already_stays() -> None:
    torch.manual_seed(0)
    once = from_int8(to_int8({"w": torch.randn(64, 9)}))
    assert torch.equal(to_int8(once)["w"], to_int8({"w": once["w"]})["w"])
    torch.testing.assert_close(from_int8(to_int8(once))["w"], once["w"], rtol=1e-6, atol=0)


def test_names_that_look_like_scales_are_weights_like_any() -> None:
    state = {"scale.w": torch.ones(2), "w": torch.ones(2), "scale.v": torch.ones(2, 3)}
    assert all(torch.equal(value, state[name]) for name, value in from_int8(state).items())
    assert list(from_int8(to_int8(state))) == list(state)


def test_the_command_writes_a_quarter_of_the_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = build_model("vgg11", form="cifar", activation="clip", pooling="avg", num_classes=3)
    before, after = tmp_path / "before.safetensors", tmp_path / "after.safetensors"
    about = {"config": {"pooling": "avg"}, "thresholds_T": [1]}
    theta = {"features.1": torch.ones(1, 64)}
    write_weights(before, Weights(model.state_dict(), about, theta))
    assert main(["compact", str(before), "--out", str(after)]) == 0
    assert f"wrote {after}: " in (said := capsys.readouterr().out) and ", 25% of" in said
    assert after.stat().st_size < 0.26 * before.stat().st_size
    read = read_weights(after)
    assert read.about == about and torch.equal(read.thresholds["features.1"], torch.ones(1, 64))
    loaded = load_model(after)
    assert loaded.config == model.config
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(loaded(x), model.eval()(x), rtol=0.05, atol=0.01)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.pt", "--out", "o.safetensors"], "none.pt: wanted a file of weights, found nothing"),
        (["none.pt", "--out", "o.pt"], "o.pt: the name must end with .safetensors"),
    ],
)
def test_the_command_refuses(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compact", *words]) == 2
    assert message in capsys.readouterr().err
