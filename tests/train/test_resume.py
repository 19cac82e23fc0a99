"""A run that was stopped goes on, and ends with the bits of one that was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spikeconv.data import ImageSet
from spikeconv.train import Trainer
from tests.train.runs import assert_same, dropping, network, recipe, run

MODELS: dict[str, Callable[[], nn.Module]] = {
    "relu": network,
    "qcfs": lambda: network(activation="qcfs"),
    "dropout": dropping,
}


class Stop(Exception):
    """Stands for whatever ends a process."""


def stop_in_epoch(trainer: Trainer, epoch: int) -> None:
    """Let the run die after two steps of an epoch, counted from 1."""
    steps, step = [0], trainer._step

    def counted(*args: Any) -> Any:
        steps[0] += 1
        if steps[0] > (epoch - 1) * trainer.steps + 2:
            raise Stop
        return step(*args)

    trainer._step = counted  # type: ignore[method-assign]


def logged(folder: Path) -> list[Any]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key != "seconds"} for line in lines]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("schedule", "optimizer"), [("cosine", "sgd"), ("onecycle", "sgd"), ("onecycle", "muon")]
)
def test_one_epoch_then_two_are_three(
    images: ImageSet, tmp_path: Path, kind: str, schedule: str, optimizer: str
) -> None:
    plan = recipe(schedule=schedule, optimizer=optimizer, augment=("crop", "flip", "autoaugment"))
    straight = MODELS[kind]()
    run(straight, images, plan, tmp_path / "straight")
    first = Trainer(MODELS[kind](), images, plan, tmp_path / "stopped")
    stop_in_epoch(first, 2)
    with pytest.raises(Stop):
        first.run(progress=False, say=lambda line: None)
    second = MODELS[kind]()
    said = run(second, images, plan, tmp_path / "stopped")
    assert len(said) == 2
    assert_same(second, straight)
    assert logged(tmp_path / "stopped") == logged(tmp_path / "straight")
    ours, theirs = (tmp_path / name / "best.safetensors" for name in ("stopped", "straight"))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("broken", ["last.pt", "log.jsonl", "best.safetensors"])
def test_a_stop_in_the_middle_of_writing_loses_nothing(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    straight = network()
    run(straight, images, recipe(), tmp_path / "straight")
    folder = tmp_path / "stopped"
    trainer = Trainer(network(), images, recipe(), folder)
    accuracies = iter([0.1, 0.2, 0.3])
    trainer.measure = lambda: next(accuracies)  # type: ignore[method-assign]

    def half(path: Path) -> None:
        path.write_bytes(b"half of it")
        raise Stop

    def second_time(write: Callable[..., Any], path_of: Callable[..., Path]) -> Callable[..., Any]:
        calls = [0]

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            return half(path_of(*args)) if calls[0] == 2 else write(*args, **kwargs)

        return wrapped

    if broken == "last.pt":
        monkeypatch.setattr(torch, "save", second_time(torch.save, lambda state, path: path))
    elif broken == "log.jsonl":
        monkeypatch.setattr(
            Path, "write_text", second_time(Path.write_text, lambda path, text: path)
        )
    else:
        import safetensors.torch

        monkeypatch.setattr(
            safetensors.torch,
            "save_file",
            second_time(safetensors.torch.save_file, lambda tensors, path, *more: path),
        )
    with pytest.raises(Stop):
        trainer.run(progress=False, say=lambda line: None)
    monkeypatch.undo()
    resumed = network()
    run(resumed, images, recipe(), folder)
    assert_same(resumed, straight)
    assert [line["epoch"] for line in logged(folder)] == [1, 2, 3]
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["best.safetensors", "last.pt", "log.jsonl"]


def test_a_finished_run_is_left_as_it_is(images: ImageSet, tmp_path: Path) -> None:
    model = network()
    run(model, images, recipe(), tmp_path)
    before = (tmp_path / "best.safetensors").read_bytes()
    again = network()
    assert run(again, images, recipe(), tmp_path) == []
    assert_same(again, model)
    assert (tmp_path / "best.safetensors").read_bytes() == before
    assert [line["epoch"] for line in logged(tmp_path)] == [1, 2, 3]


def flip_a_bit_of_a_tensor(path: Path) -> None:
    """As a disk may."""
    bias = torch.load(path, weights_only=True)["model"]["fc.bias"]
    content = bytearray(path.read_bytes())
    content[content.index(bias.numpy().tobytes())] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:2000]),
    "empty": lambda path: path.write_bytes(b""),
    "something else": lambda path: torch.save({"model": {}}, path),
    "a bit": flip_a_bit_of_a_tensor,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a list": lambda path: torch.save([1, 2], path),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_named(
    images: ImageSet, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    run(network(), images, recipe(epochs=1), tmp_path)
    damage(tmp_path / "last.pt")
    with pytest.raises(
        ValueError, match=r"last\.pt: wanted .*Move it, best\.safetensors and log\.jsonl away and "
    ) as e:
        Trainer(network(), images, recipe(epochs=1), tmp_path).resume()
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("best", [1, 2])
def test_best_weights_that_are_gone(images: ImageSet, tmp_path: Path, best: int) -> None:
    trainer = Trainer(network(), images, recipe(epochs=2), tmp_path)
    accuracies = iter([0.2, 0.1 * best + 0.05])
    trainer.measure = lambda: next(accuracies)  # type: ignore[method-assign]
    trainer.run(progress=False, say=lambda line: None)
    path = tmp_path / "best.safetensors"
    written = path.read_bytes()
    path.unlink()
    again = Trainer(network(), images, recipe(epochs=2), tmp_path)
    if best == 1:
        with pytest.raises(
            FileNotFoundError, match=r"weights of epoch 1, .* those of epoch 2; put"
        ):
            again.resume()
        assert not path.exists()
    else:
        assert again.resume()
        assert path.read_bytes() == written


def test_another_recipe_or_another_network_is_refused(images: ImageSet, tmp_path: Path) -> None:
    Trainer(network(), images, recipe(), tmp_path, about={"model": "resnet8"}).run(
        progress=False, say=lambda line: None
    )
    other = Trainer(network(), images, recipe(lr=0.1, batch=8), tmp_path, about={"model": "x"})
    with pytest.raises(ValueError, match="the run there has another batch, lr, model; choose anot"):
        other.resume()


def test_a_checkpoint_of_before_the_log_was_part_of_it(images: ImageSet, tmp_path: Path) -> None:
    straight = network()
    run(straight, images, recipe(), tmp_path / "straight")
    folder = tmp_path / "old"
    trainer = Trainer(network(), images, recipe(), folder)
    stop_in_epoch(trainer, 3)
    with pytest.raises(Stop):
        trainer.run(progress=False, say=lambda line: None)
    state = torch.load(folder / "last.pt", weights_only=True)
    for key in ("log", "about"):
        del state[key]
    del state["recipe"]["limit"]
    torch.save(state, folder / "last.pt")
    resumed = network()
    assert len(run(resumed, images, recipe(), folder)) == 1
    assert_same(resumed, straight)
    assert logged(folder) == logged(tmp_path / "straight")
