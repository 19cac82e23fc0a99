"""The loop: what an epoch does, written out plainly; the log; what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spikeconv.data import ImageSet
from spikeconv.models import load_model
from spikeconv.models.weights import read_weights
from spikeconv.train import Recipe, Trainer
from spikeconv.train.augment import augmented
from tests.train.runs import assert_same, dropping, network, recipe, run


def plainly(model: nn.Module, images: ImageSet, plan: Recipe) -> None:
    """The recipe as a script would do it."""
    model.to(memory_format=torch.channels_last)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(plan.seed))
    train = order[plan.holdout :]
    sgd = torch.optim.SGD(
        model.parameters(), plan.lr, 0.9, nesterov=True, weight_decay=plan.weight_decay
    )
    steps = len(train) // plan.batch
    one_cycle = plan.schedule == "onecycle"
    schedule = (
        torch.optim.lr_scheduler.OneCycleLR(sgd, plan.lr, plan.epochs * steps, cycle_momentum=False)
        if one_cycle
        else torch.optim.lr_scheduler.CosineAnnealingLR(sgd, plan.epochs * steps)
    )
    model.train()
    for epoch in range(plan.epochs):
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + epoch)
        torch.manual_seed(plan.seed * 1_000_003 + epoch)
        shuffled = train[torch.randperm(len(train), generator=generator)]
        # Images as small as these are augmented an epoch at a time.
        seen = augmented(images, shuffled[: steps * plan.batch], plan.augment, generator)
        for step in range(steps):
            batch = shuffled[step * plan.batch : (step + 1) * plan.batch]
            x = seen[step * plan.batch : (step + 1) * plan.batch]
            logits = model(x.to(memory_format=torch.channels_last))
            smoothing = plan.label_smoothing
            sgd.zero_grad()
            F.cross_entropy(logits, images.labels[batch], label_smoothing=smoothing).backward()
            sgd.step()
            schedule.step()


@pytest.mark.parametrize(
    "plan",
    [recipe(), recipe(schedule="onecycle", seed=3, label_smoothing=0.1, augment=("cutout",))],
    ids=["cosine", "onecycle"],
)
def test_an_epoch_is_what_a_plain_script_does(images: ImageSet, plan: Recipe) -> None:
    ours, plain = network(), network()
    run(ours, images, plan, None)
    plainly(plain, images, plan)
    assert_same(ours, plain)


def test_dropout_is_drawn_by_the_seed_and_leaves_the_callers_generator(images: ImageSet) -> None:
    ours, plain = dropping(), dropping()
    before = torch.get_rng_state()
    run(ours, images, recipe(), None)
    assert torch.equal(torch.get_rng_state(), before)
    plainly(plain, images, recipe())
    assert_same(ours, plain)


def test_held_out_images_are_never_trained_on(images: ImageSet) -> None:
    trainer = Trainer(network(), images, recipe(), None)
    assert len(trainer.held_out) == 10
    assert sorted([*trainer.train.tolist(), *trainer.held_out.tolist()]) == list(range(60))
    read: set[int] = set()

    class Noted(ImageSet):
        def raw(self, indices: torch.Tensor) -> torch.Tensor:
            read.update(indices.tolist())
            return super().raw(indices)

    trainer.images = Noted(images.images, images.labels)
    trainer.measure = lambda: 0.5  # type: ignore[method-assign]
    trainer.run(progress=False, say=lambda line: None)
    assert read and not read & set(trainer.held_out.tolist())


def test_a_limit_takes_a_part_of_the_images_and_the_same_are_held_out(images: ImageSet) -> None:
    whole, part = (Trainer(network(), images, recipe(limit=n), None) for n in (None, 20))
    assert part.train.tolist() == whole.train[:20].tolist()
    assert part.held_out.tolist() == whole.held_out.tolist()
    assert part.steps == 1


def test_the_folder_holds_a_line_for_each_epoch_and_the_best_weights(
    images: ImageSet, tmp_path: Path
) -> None:
    model = network()
    said = run(model, images, recipe(), tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2, 3]
    last = 0.05 / 2 * (1 + math.cos(math.pi * 8 / 9))  # the rate of the last of nine steps
    assert log[-1]["lr"] == pytest.approx(last)
    assert [line.startswith("epoch") for line in said] == [True] * 3
    assert f"held out {log[0]['held_out']:.2%}" in said[0]
    about = read_weights(tmp_path / "run" / "best.safetensors").about
    best = max(log, key=lambda line: line["held_out"])
    assert (about["epoch"], about["held_out"]) == (best["epoch"], best["held_out"])
    assert about["recipe"]["batch"] == 16
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["best.safetensors", "last.pt", "log.jsonl"]


def test_the_best_epoch_is_the_first_of_equals(images: ImageSet, tmp_path: Path) -> None:
    trainer = Trainer(network(), images, recipe(), tmp_path)
    accuracies = iter([0.2, 0.7, 0.7])
    states = []

    def measure() -> float:
        states.append({k: v.clone() for k, v in trainer.model.state_dict().items()})
        return next(accuracies)

    trainer.measure = measure  # type: ignore[method-assign]
    trainer.run(progress=False, say=lambda line: None)
    assert trainer.best()["epoch"] == 2
    best = load_model(tmp_path / "best.safetensors").state_dict()
    assert all(torch.equal(best[name], states[1][name]) for name in best)


def test_no_epoch_is_the_best_before_one_is_done(images: ImageSet) -> None:
    with pytest.raises(ValueError, match=r"Trainer\.best: wanted .*, got none; call run first"):
        Trainer(network(), images, recipe(), None).best()


def test_with_nothing_held_out_the_last_epoch_is_the_best(images: ImageSet, tmp_path: Path) -> None:
    model = network()
    said = run(model, images, recipe(holdout=0), tmp_path)
    assert not any("held out" in line for line in said)
    assert_same(load_model(tmp_path / "best.safetensors"), model)
    assert read_weights(tmp_path / "best.safetensors").about["epoch"] == 3


def test_a_loss_that_is_no_number_ends_the_run_with_advice(
    images: ImageSet, tmp_path: Path
) -> None:
    class Breaks(nn.Module):
        """NaN from the fifth step of training on, which is in the second epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
            self.steps = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps += self.training
            return self.body(x) * (float("nan") if self.steps > 4 else 1)

    with pytest.raises(ValueError, match="became nan in epoch 2; epoch 1 is kept in") as error:
        run(Breaks(), images, recipe(), tmp_path)
    assert "lower learning rate (it is 0.05)" in str(error.value)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_batch_norm_of_one_pixel_wants_more_than_one_image(images: ImageSet) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"Trainer: batch must be 2 or more .* got 1 "):
        run(model, images, recipe(batch=1), None)


def test_a_last_step_that_no_weight_survives_is_not_written(
    images: ImageSet, tmp_path: Path
) -> None:
    """One step in all, whose loss is that before it."""
    plan, bright = recipe(epochs=1, batch=50, lr=1e38, augment=()), replace(images, std=(1e-4,) * 3)
    with pytest.raises(ValueError, match=r"a weight became NaN or infinite in epoch 1\. Try a low"):
        run(dropping(), bright, plan, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"holdout": 60}, "hold 60 out and fill a batch of 16, got 60 .of which 0 are left"),
        ({"batch": 51}, "hold 10 out and fill a batch of 51, got 60 .of which 50 are left"),
        ({"limit": 8}, r"limit \(--limit\) must be at least a batch, which is 16, got 8"),
        ({"batch": 51, "limit": 8}, "images must be .* batch of 51, got 60 .of which 50 are left"),
    ],
)
def test_too_few_images(images: ImageSet, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trainer(network(), images, recipe(**options), None)
