"""AutoAugment of a batch: every operation is torchvision's, and images get the pair they drew."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from spikeconv.train import autoaugment as module
from spikeconv.train.autoaugment import _DIRECTED, apply, autoaugment

PAIRS = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
OPERATIONS = sorted(
    {
        (name, level, turned)
        for pair in PAIRS
        for name, _, level in pair
        for turned in ((False, True) if name in _DIRECTED else (False,))
    },
    key=str,
)


class Given(AutoAugment):
    """torchvision's, whose draws are given: one operation of a pair, in a direction."""

    def __init__(self, operation: module.Operation) -> None:
        super().__init__(AutoAugmentPolicy.CIFAR10)
        name, level, turned = operation
        self.drawn = next(
            (number, torch.tensor([float(i != place) * 2 for i in range(2)]))
            for number, pair in enumerate(PAIRS)
            for place in range(2)
            if (pair[place][0], pair[place][2]) == (name, level)
        )
        self.signs = torch.tensor([int(not turned)] * 2)

    def get_params(self, transform_num: int) -> tuple[int, Tensor, Tensor]:  # type: ignore[override]
        return (*self.drawn, self.signs)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Soft ones, and noise."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(6, 3, 5, 5, generator=generator)
    soft = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear") * 200 + 20
    noise = torch.randint(256, (6, 3, 32, 32), generator=generator)
    return torch.cat([soft, noise]).to(torch.uint8)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_operation_is_torchvisions(images: Tensor, operation: module.Operation) -> None:
    policy = Given(operation)
    wanted = torch.stack([policy(image) for image in images])
    found = apply(operation, images)
    # Its two generations round differently where they blend.
    assert int((found.int() - wanted.int()).abs().max()) <= 1
    if operation[0] not in ("Color", "Brightness", "Sharpness", "AutoContrast", "Contrast"):
        assert torch.equal(found, wanted)


def test_pairs_are_applied_with_their_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: dict[str, int] = {}

    def count(operation: module.Operation, images: Tensor) -> Tensor:
        applied[operation[0]] = applied.get(operation[0], 0) + len(images)
        return images

    monkeypatch.setattr(module, "apply", count)
    total = 50_000
    blank = torch.zeros(total, 1, 1, 1, dtype=torch.uint8)
    autoaugment(blank, torch.Generator().manual_seed(0))
    for name in {name for pair in PAIRS for name, *_ in pair}:
        expected = total * sum(p for pair in PAIRS for n, p, _ in pair if n == name) / len(PAIRS)
        assert abs(applied[name] - expected) < 5 * expected**0.5


def test_the_second_operation_follows_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, str]] = []

    def note(operation: module.Operation, part: Tensor) -> Tensor:
        seen.extend((int(one), operation[0]) for one in part[:, 0, 0, 0])
        return part + 100

    monkeypatch.setattr(module, "apply", note)
    numbered = torch.arange(40, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    autoaugment(numbered, torch.Generator().manual_seed(1))
    seconds = [(number - 100, name) for number, name in seen if number >= 100]
    firsts = {number: name for number, name in seen if number < 100}
    pairs = {(pair[0][0], pair[1][0]) for pair in PAIRS}
    both = [(firsts[number], name) for number, name in seconds if number in firsts]
    assert len(both) > 5 and set(both) <= pairs
