"""Norse: IAF, all steps in a call, and IAFCell, one step a call, with the state handed around."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from norse.torch.functional.iaf import IAFFeedForwardState
from norse.torch.functional.threshold import threshold
from norse.torch.module.iaf import IAF, IAFCell
from torch import Tensor, nn

from spikeconv.drop_in.adopted import Adopted, adopt
from spikeconv.ops import if_multistep
from spikeconv.ops.check import broadcasts
from spikeconv.ops.step import one_step
from spikeconv.surrogate import FromSpikeFunction

_NEURONS = ("SNN", "SNNCell", "SNNRecurrent", "SNNRecurrentCell")


class _NorseIF(Adopted):
    """What IAF and IAFCell share: hard reset, and firing above the threshold only."""

    p: Any
    _v_reset: float

    def _relies_on(self) -> tuple[Any, ...]:
        return tuple(self.p)

    def _why_not(self) -> str | None:
        v_reset, theta = torch.as_tensor(self.p.v_reset), torch.as_tensor(self.p.v_th)
        if isinstance(self.p.v_reset, nn.Parameter):
            return "v_reset is learned"
        if v_reset.numel() != 1 or not math.isfinite(v_reset.item()):
            return "v_reset is no finite number"
        if not bool(((theta > 0) & torch.isfinite(theta)).all()):
            return "v_th must be positive and finite here"
        return None

    def _settle(self) -> None:
        self._v_reset = torch.as_tensor(self.p.v_reset).detach().item()

    def _start(self, x: Tensor, state: IAFFeedForwardState | None) -> float | Tensor | None:
        """The potential to begin with; None where the original's broadcasting or rounding counts.

        Its membrane has the dtype of x, which in 16 bits is another computation.
        """
        if not self._is_plain() or x.dtype not in (torch.float32, torch.float64):
            return None
        if not broadcasts(torch.as_tensor(self.p.v_th).shape, x.shape):
            return None
        if state is None:
            return self._v_reset
        v: Tensor = state.v
        return v if v.dim() == 0 or (v.shape == x.shape and v.dtype == x.dtype) else None

    def _neuron(self, x: Tensor) -> dict[str, Any]:
        """Arguments of our operator."""
        return {
            "v_threshold": torch.as_tensor(self.p.v_th, device=x.device),
            "v_reset": self._v_reset,
            "fires": "gt",
            "surrogate": self._derivative() if torch.is_grad_enabled() else None,
        }

    def _derivative(self) -> Callable[[Tensor], Tensor]:
        if self.p.method == "heaviside":
            return torch.zeros_like
        return FromSpikeFunction(partial(threshold, method=self.p.method, alpha=self.p.alpha))


class NorseIAF(_NorseIF, IAF):
    """Norse's IAF, all steps in one pass."""

    def forward(
        self, input_tensor: Tensor, state: IAFFeedForwardState | None = None
    ) -> tuple[Tensor, IAFFeedForwardState]:
        """Currents ``[T, *]`` and a state, or None, to spikes ``[T, *]`` and the state after."""
        timed = input_tensor.dim() > 0 and len(input_tensor) > 0
        v = self._start(input_tensor[0], state) if timed else None
        if v is None:
            return super().forward(input_tensor, state)  # type: ignore[no-any-return]
        return_v = "all" if self.record_states else "last"
        spikes, after = if_multistep(
            input_tensor, v_init=v, reset="hard", return_v=return_v, **self._neuron(input_tensor)
        )
        return spikes, IAFFeedForwardState(after)


class NorseIAFCell(_NorseIF, IAFCell):
    """Norse's IAFCell: one step."""

    def forward(
        self, input_tensor: Tensor, state: IAFFeedForwardState | None = None
    ) -> tuple[Tensor, IAFFeedForwardState]:
        """A current ``[*]`` and a state, or None, to spikes ``[*]`` and the state after."""
        taught = torch.is_grad_enabled() and (
            input_tensor.requires_grad or (state is not None and state.v.requires_grad)
        )
        # With a gradient Norse's own step is as short as it can be.
        v = None if taught else self._start(input_tensor, state)
        if v is None:
            return super().forward(input_tensor, state)  # type: ignore[no-any-return]
        spikes, after = one_step(input_tensor, v, **self._neuron(input_tensor))
        return spikes, IAFFeedForwardState(after)


def is_neuron(module: nn.Module) -> bool:
    """Whether it is one of Norse's neurons, or derived from one."""
    return any(
        cls.__module__ == "norse.torch.module.snn" and cls.__name__ in _NEURONS
        for cls in type(module).__mro__
    )


def replace(module: nn.Module, device: torch.device) -> str | None:
    """Make the module one of the classes above, or say why it stays."""
    if isinstance(module, IAF):
        return adopt(module, IAF, NorseIAF)
    if isinstance(module, IAFCell):
        return adopt(module, IAFCell, NorseIAFCell)
    return f"{type(module).__name__} is no plain IF neuron"
