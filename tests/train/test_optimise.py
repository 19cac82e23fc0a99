"""Muon: which weights it trains, what its step is, and that the rest is SGD's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from spikeconv.data import ImageSet
from spikeconv.train import Recipe
from spikeconv.train.optimise import Optimisers
from tests.train.runs import network, recipe, run


def small() -> nn.Sequential:
    """First, three layers within, of which one is grouped, a bound, and last."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Conv2d(6, 6, 3, groups=6)]
    return nn.Sequential(
        *convolutions, nn.Conv2d(6, 5, 1), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5, 2)
    ).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def muon(steps: int = 10, **options: object) -> Recipe:
    return Recipe(epochs=steps, optimizer="muon", **options)  # type: ignore[arg-type]


def changed(model: nn.Module, before: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value - before[name] for name, value in model.state_dict().items()}


def one_step(model: nn.Module, plan: Recipe, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """What one step changes, with gradients given by hand; other parameters have none."""
    optimisers = Optimisers(model, plan, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        parameter.grad = gradients.get(name)
    optimisers.step()
    return changed(model, before)


def test_a_step_has_the_directions_of_the_gradient_and_no_preference_among_them() -> None:
    """Of G = U diag(s) V', the step is -lr U diag(about 1) V', whatever s is."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(6, 3, bias=False), nn.Linear(3, 2))
    nn.init.zeros_(model[1].weight)
    u, v = torch.eye(3)[[2, 0, 1]], torch.linalg.qr(torch.randn(6, 3))[0]
    gradient = u @ torch.diag(torch.tensor([4.0, 2.0, 1.0])) @ v.T
    step = one_step(model, muon(muon_lr=0.5, schedule="cosine"), {"1.weight": gradient})["1.weight"]
    along = u.T @ step @ v / -0.5
    off = along - torch.diag(along.diag())
    assert off.abs().max() < 0.02  # the iteration runs in bfloat16
    assert (along.diag() > 0.6).all() and (along.diag() < 1.3).all()


def test_convolutions_are_matrices_with_a_row_for_each_output() -> None:
    """A weight of a convolution steps as torch's Muon steps the matrix of its rows."""
    model = small()
    gradient = torch.randn(6, 4, 3, 3)
    rows = nn.Parameter(model[1].weight.detach().permute(0, 2, 3, 1).reshape(6, 36).clone())
    before = rows.detach().clone()
    rows.grad = gradient.permute(0, 2, 3, 1).reshape(6, 36)
    torch.optim.Muon([rows], lr=0.04, weight_decay=0.05, momentum=0.9).step()
    step = one_step(model, muon(muon_lr=0.04), {"1.weight": gradient})["1.weight"]
    assert torch.equal(step.permute(0, 2, 3, 1).reshape(6, 36), rows.detach() - before)


def test_the_first_the_last_grouped_layers_and_all_else_are_sgds() -> None:
    names = [name for name, _ in small().named_parameters()]
    gradients = {name: torch.randn_like(value) for name, value in small().named_parameters()}
    by_muon = one_step(small(), muon(lr=0.01, muon_lr=0.3), gradients)
    by_sgd = one_step(small(), Recipe(lr=0.01), gradients)
    differ = {name for name in names if not torch.equal(by_muon[name], by_sgd[name])}
    assert differ == {"1.weight", "3.weight"}


def test_both_rates_follow_the_schedule() -> None:
    optimisers = Optimisers(small(), muon(lr=0.2, muon_lr=0.04), 10)
    for _ in range(6):
        sgd, within = (part.param_groups[0]["lr"] for part in optimisers._parts.values())
        optimisers.step()
    assert sgd == pytest.approx(0.1) and within == pytest.approx(0.02)
    assert optimisers.rate == sgd  # that of the last step, not the next one's


def test_a_network_of_two_layers_has_nothing_within() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    assert list(Optimisers(model, muon(), 10).state()) == ["optimiser", "schedule"]


def test_it_learns(images: ImageSet) -> None:
    lines = run(network(), images, recipe(optimizer="muon", lr=0.02, augment=()), None)
    first, last = (float(line.split("loss ")[1].split(",")[0]) for line in (lines[0], lines[-1]))
    assert last < first


def test_a_torch_without_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ValueError, match=r"'muon' wants torch 2.9 or newer, got 2\..*'sgd'"):
        Optimisers(small(), muon(), 10)


def test_weights_that_lie_otherwise_are_not_trained_as_copies() -> None:
    model = small().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with pytest.raises(AssertionError, match="must lie as channels_last"):
        Optimisers(model, muon(), 10)


def test_a_weight_of_two_layers_takes_one_step() -> None:
    tied = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    tied[2].weight = tied[1].weight
    optimisers = Optimisers(tied, muon(), 10)
    assert len(optimisers._parts["muon_"].param_groups[0]["params"]) == 1
