"""What takes the steps: SGD for all parameters, or Muon for the weights of layers within and SGD
for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.train.recipe import Recipe

_MUON_MOMENTUM = 0.9
# Of what Muon trains, times its rate; SGD's decay is another thing (times the rate, but of a
# gradient that shrinks as weights grow).
_MUON_DECAY = 0.05


class _Muon:
    """torch's Muon for weights of any rank: each is a matrix with a row for each output.

    The step of a matrix is its averaged gradient with all singular values made about 1, so that no
    direction learns faster than another.

    Args:
        weights: ``[out, in]`` or ``[out, in, height, width]``, the latter with the memory of
            `torch.channels_last`.
        lr: learning rate, above 0.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, weights: list[nn.Parameter], lr: float) -> None:
        self._weights = weights
        self._views = [nn.Parameter(_matrix(weight.detach())) for weight in weights]
        for weight, view in zip(weights, self._views, strict=True):
            # A copy would learn in the weight's place, unseen.
            assert view.data_ptr() == weight.data_ptr(), "weights must lie as channels_last"
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(
                f"Trainer: optimizer 'muon' wants torch 2.9 or newer, got {torch.__version__}; "
                "take 'sgd' or a newer torch"
            )
        self.optimiser = torch.optim.Muon(
            self._views, lr=lr, weight_decay=_MUON_DECAY, momentum=_MUON_MOMENTUM
        )

    def take_gradients(self) -> None:
        """Show Muon the gradients of the weights; a weight without one stays as it is."""
        for weight, view in zip(self._weights, self._views, strict=True):
            view.grad = None if weight.grad is None else _matrix(weight.grad)


def _matrix(weight: Tensor) -> Tensor:
    """One row for each output; of a weight that lies as channels_last, the same memory."""
    return weight.movedim(1, -1).flatten(1)


def _within(model: nn.Module) -> list[nn.Parameter]:
    """Weights of all layers but the first, the last and grouped convolutions."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    weights = [layer.weight for layer in layers[1:-1] if getattr(layer, "groups", 1) == 1]
    # A weight of several layers is one.
    return list(dict.fromkeys(w for w in weights if isinstance(w, nn.Parameter)))


class Optimisers:
    """The optimisers of a run, each with the schedule of its learning rate.

    Args:
        model: on its device, in the memory format that it is trained in.
        recipe: says which and how.
        steps: of the whole run.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, steps: int) -> None:
        self._model = model
        matrices = _within(model) if recipe.optimizer == "muon" else []
        chosen = {id(weight) for weight in matrices}
        sgd = torch.optim.SGD(
            [parameter for parameter in model.parameters() if id(parameter) not in chosen],
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )
        self._parts: dict[str, torch.optim.Optimizer] = {"": sgd}
        self._muon = _Muon(matrices, recipe.muon_lr) if matrices else None
        if self._muon is not None:
            self._parts["muon_"] = self._muon.optimiser
        self._schedules = {
            part: _schedule(optimiser, recipe, steps) for part, optimiser in self._parts.items()
        }
        self.rate = 0.0
        """Learning rate of SGD in the last step."""

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self._model.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Take a step, with each rate where its schedule is."""
        if self._muon is not None:
            self._muon.take_gradients()
        self.rate = float(self._schedules[""].get_last_lr()[0])
        for part, optimiser in self._parts.items():
            optimiser.step()
            self._schedules[part].step()

    def state(self) -> dict[str, Any]:
        """What the rest of the run depends on, as the checkpoint holds it."""
        return {
            **{f"{part}optimiser": each.state_dict() for part, each in self._parts.items()},
            **{f"{part}schedule": each.state_dict() for part, each in self._schedules.items()},
        }

    def load(self, state: dict[str, Any], taken: int) -> None:
        """Go on where `state` was, after so many steps.

        Raises:
            ValueError, KeyError, TypeError: it is not that of such optimisers then.
        """
        for part, optimiser in self._parts.items():
            optimiser.load_state_dict(state[f"{part}optimiser"])
            schedule = self._schedules[part]
            schedule.load_state_dict(state[f"{part}schedule"])
            if schedule.last_epoch != taken:
                raise ValueError(f"its {part}schedule is not at step {taken}")
            if not _has_momentum(optimiser):
                raise ValueError(f"its {part}optimiser lacks momentum of the weights' shapes")


def _has_momentum(optimiser: torch.optim.Optimizer) -> bool:
    """Whether an optimiser that has taken a step knows what it needs of the steps before."""
    if all(group["momentum"] == 0 for group in optimiser.param_groups):
        return True
    # A weight that nothing depends on has none.
    momenta = {weight: each.get("momentum_buffer") for weight, each in optimiser.state.items()}
    return bool(momenta) and all(
        isinstance(momentum, Tensor) and momentum.shape == weight.shape
        for weight, momentum in momenta.items()
    )


def _schedule(optimiser: torch.optim.Optimizer, recipe: Recipe, steps: int) -> Any:
    """The rate from step to step: its highest is the one that the optimiser was made with."""
    schedules = torch.optim.lr_scheduler
    if recipe.schedule == "onecycle":
        highest = optimiser.param_groups[0]["lr"]
        return schedules.OneCycleLR(optimiser, highest, steps, cycle_momentum=False)
    return schedules.CosineAnnealingLR(optimiser, steps)
