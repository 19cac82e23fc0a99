"""Folders of runs that were changed from outside: named, and nothing in them is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from spikeconv.data import ImageSet
from spikeconv.models import build_model, load_model
from spikeconv.models.checkpoint import open_weights
from spikeconv.models.weights import Weights, write_weights
from spikeconv.train import Trainer
from spikeconv.train.finish import finish
from tests.train.runs import assert_same, network, recipe, run


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """A change of what a checkpoint holds."""

    def apply(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        change(state)
        torch.save(state, path)

    return apply


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another network": (
        lambda state: state.update(model={"weight": torch.ones(1)}),
        r"it does not fit \(Error\(s\) in loading state_dict",
    ),
    "no recipe": (lambda state: state.update(recipe=[1]), "its recipe is none of a run's"),
    "no log": (lambda state: state.update(log=[]), "its log is none of a run's"),
    "a log of something else": (lambda state: state.update(log=[1]), "its log is none of a run"),
    "a log of another epoch": (lambda state: state["log"][0].update(epoch=2), "its log is none"),
    "no optimiser": (lambda state: state.update(optimiser={}), "it does not fit"),
    "no momentum": (
        lambda state: state["optimiser"]["state"].clear(),
        "its optimiser lacks moment",
    ),
    "momentum of other weights": (
        lambda state: state["optimiser"]["state"][0].update(momentum_buffer=torch.ones(1)),
        "its optimiser lacks momentum of the weights' shapes",
    ),
    "no schedule": (lambda state: state.update(schedule={}), "its schedule is not at step 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_checkpoint_of_something_else_is_named(
    images: ImageSet, tmp_path: Path, case: str
) -> None:
    plan = recipe(epochs=1)
    run(network(), images, plan, tmp_path)
    change, message = WRONG[case]
    changed(change)(tmp_path / "last.pt")
    before = (tmp_path / "best.safetensors").read_bytes()
    with pytest.raises(ValueError, match=rf"last\.pt: wanted .*{message}.*Move it, best") as e:
        Trainer(network(), images, plan, tmp_path).resume()
    assert "\n" not in str(e.value)
    assert (tmp_path / "best.safetensors").read_bytes() == before


def test_best_weights_of_another_network_are_named(images: ImageSet, tmp_path: Path) -> None:
    trainer = Trainer(network(), images, recipe(epochs=1), tmp_path)
    trainer.run(progress=False, say=lambda line: None)
    other = build_model("resnet14", widths=(4, 4, 8), num_classes=3)
    write_weights(tmp_path / "best.safetensors", Weights(other.state_dict(), trainer.describe()))
    with pytest.raises(ValueError, match=r"best\.safetensors: wanted .* another network; put"):
        finish(trainer)


FOREIGN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no description": (lambda about: about.clear(), "one with another description"),
    "another recipe": (lambda about: about["recipe"].update(lr=0.1), "one with another lr"),
    "another config": (lambda about: about["config"].update(stem="x"), "one with another config"),
    "another epoch": (lambda about: about.update(epoch=3), "one with another epoch"),
    "damage": (lambda about: None, "something else or a damaged one"),
    "a folder": (lambda about: None, "found a folder"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_best_weights_of_another_run_are_named_before_it_goes_on(
    images: ImageSet, tmp_path: Path, case: str
) -> None:
    about = {"config": {"stem": "cifar"}}
    trainer = Trainer(network(), images, recipe(epochs=1), tmp_path, about=about)
    trainer.run(progress=False, say=lambda line: None)
    best, (change, message) = tmp_path / "best.safetensors", FOREIGN[case]
    weights = open_weights(best)
    change(weights.about)
    write_weights(best, weights)
    if case == "damage":
        best.write_bytes(best.read_bytes()[:-100])
    if case == "a folder":
        best.unlink()
        best.mkdir()
    again = Trainer(network(), images, recipe(epochs=1), tmp_path, about=about)
    with pytest.raises(
        ValueError, match=rf"best\.safetensors: wanted .*{message}.*; put the right"
    ):
        again.resume()
    with pytest.raises(ValueError, match=message):
        finish(trainer)


def test_weights_of_an_epoch_that_is_done_again_give_way(images: ImageSet, tmp_path: Path) -> None:
    """A run that ended between weights and checkpoint, when the epoch is not the best next time."""
    trainer = Trainer(network(), images, recipe(epochs=1), tmp_path)
    trainer.run(progress=False, say=lambda line: None)
    best = tmp_path / "best.safetensors"
    weights = open_weights(best)
    wanted = {name: tensor.clone() for name, tensor in weights.state.items()}
    weights.about["epoch"] = 2
    later = {name: tensor + 1 for name, tensor in wanted.items()}
    write_weights(best, Weights(later, weights.about))
    again = Trainer(network(), images, recipe(epochs=1), tmp_path)
    again.resume()
    finish(again)
    found = open_weights(best)
    assert found.about["epoch"] == 1
    assert all(torch.equal(found.state[name], tensor) for name, tensor in wanted.items())


def test_weights_without_a_checkpoint_are_not_replaced(images: ImageSet, tmp_path: Path) -> None:
    trainer = Trainer(network(), images, recipe(), tmp_path)
    accuracies = iter([0.1, 0.2, 0.3])
    trainer.measure = lambda: next(accuracies)  # type: ignore[method-assign]
    trainer.run(progress=False, say=lambda line: None)
    (tmp_path / "last.pt").unlink()
    best = tmp_path / "best.safetensors"
    before = best.read_bytes()
    with pytest.raises(ValueError, match=r"there are weights, but no last\.pt of their run"):
        run(network(), images, recipe(), tmp_path)
    assert best.read_bytes() == before


def test_a_log_without_a_checkpoint_is_not_replaced(images: ImageSet, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("mine\n")
    with pytest.raises(ValueError, match=r"log\.jsonl: there is a log, but no last\.pt of its run"):
        run(network(), images, recipe(), tmp_path)
    assert log.read_text() == "mine\n"


def test_a_run_that_ended_before_its_first_checkpoint_begins_anew(
    images: ImageSet, tmp_path: Path
) -> None:
    straight = network()
    run(straight, images, recipe(), tmp_path / "straight")
    first = tmp_path / "first"
    run(network(), images, recipe(epochs=3), first)
    # What the first epoch writes before its checkpoint.
    trainer = Trainer(network(), images, recipe(), None)
    weights = open_weights(first / "best.safetensors")
    about = {**trainer.about, **weights.about, "epoch": 1}
    shutil.rmtree(first)
    first.mkdir()
    write_weights(first / "best.safetensors", Weights(weights.state, about))
    again = network()
    run(again, images, recipe(), first)
    assert_same(again, straight)


def test_a_checkpoint_opened_as_weights_keeps_its_description(tmp_path: Path) -> None:
    model = build_model("vgg11", form="cifar", pooling="avg", num_classes=3)
    about = {"config": {"pooling": "avg"}, "mean": [0.5, 0.5, 0.5]}
    state = {"recipe": {}, "about": about, "epoch": 1, "model": model.state_dict(), "log": []}
    torch.save(state, tmp_path / "last.pt")
    assert open_weights(tmp_path / "last.pt").about == about
    assert load_model(tmp_path / "last.pt").config.pooling == "avg"  # type: ignore[union-attr]


def test_sparse_weights_are_named(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(4, 4).to_sparse()}, tmp_path / "s.pt")
    with pytest.raises(ValueError, match=r"s\.pt: wanted dense tensors, found a as torch.sparse"):
        open_weights(tmp_path / "s.pt")


def test_weights_that_share_memory_are_written(tmp_path: Path) -> None:
    zeros = torch.zeros(3)
    write_weights(tmp_path / "t.safetensors", Weights({"m": zeros, "v": zeros}))
    assert torch.equal(open_weights(tmp_path / "t.safetensors").state["v"], zeros)
