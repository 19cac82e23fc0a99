"""Sinabs: IAF and IAFSqueeze that fire one spike a step; time is the second dimension."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sinabs.activation import MembraneReset, MembraneSubtract, SingleSpike
from sinabs.layers import IAF, IAFSqueeze, StatefulLayer
from torch import Tensor, nn

from spikeconv.drop_in.adopted import Adopted, adopt, shape_changed
from spikeconv.ops import if_multistep
from spikeconv.surrogate import Surrogate


@dataclass(frozen=True)
class OfSinabs(Surrogate):
    """A derivative of Sinabs, which is a function of the potential and the threshold."""

    function: Any
    v_threshold: Tensor

    def derivative(self, u: Tensor) -> Tensor:
        h: Tensor = self.function(u + self.v_threshold, self.v_threshold)
        return h


class _SinabsIF(Adopted):
    """What IAF and IAFSqueeze share."""

    spike_threshold: Tensor
    min_v_mem: Tensor | None
    v_mem: Tensor

    def _relies_on(self) -> tuple[Any, ...]:
        layer: Any = self
        theta, reset_fn = layer.spike_threshold, layer.reset_fn
        return (
            *(layer.spike_fn, layer.tau_syn, layer.train_alphas, layer.norm_input),
            *(theta, theta is None or theta.requires_grad, type(reset_fn)),
            *(getattr(reset_fn, name, None) for name in ("subtract_value", "reset_value")),
        )

    def _why_not(self) -> str | None:
        layer: Any = self
        if layer.spike_fn is not SingleSpike:
            name = getattr(layer.spike_fn, "__name__", type(layer.spike_fn).__name__)
            return f"spike_fn is {name}: it may fire several spikes a step, or none"
        if layer.tau_syn is not None or layer.train_alphas or layer.norm_input:
            return "its synapses or its membrane have a time constant"
        theta = self.spike_threshold
        if theta is None or theta.requires_grad:
            return "spike_threshold is learned" if theta is not None else "it has no threshold"
        if not bool(((theta > 0) & torch.isfinite(theta)).all()):
            return "spike_threshold must be positive and finite here"
        return self._why_reset(layer.reset_fn)

    def _why_reset(self, reset_fn: Any) -> str | None:
        if type(reset_fn) is MembraneSubtract:
            amount = reset_fn.subtract_value
            return None if amount is None else f"it subtracts {amount}, whatever its threshold"
        if type(reset_fn) is MembraneReset:
            if reset_fn.reset_value == 0:
                return None
            return f"MembraneReset({reset_fn.reset_value}) shifts all neurons, not those that fired"
        return f"reset_fn is {type(reset_fn).__name__}"

    def _all_steps(self, x: Tensor, original: Any) -> Tensor:
        """Currents ``[B, T, *]`` to spikes; `original` is the forward of their class."""
        layer: Any = self
        if not self._is_plain() or x.dim() < 2 or not x.is_floating_point():
            return original(x)  # type: ignore[no-any-return]
        neurons = torch.Size((x.shape[0], *x.shape[2:]))
        if self.v_mem.shape != neurons:
            if bool(self.v_mem.any()):
                raise shape_changed(type(self).__name__, self.v_mem, neurons, "reset_states()")
            layer.init_state_with_shape(neurons)
        if self.min_v_mem is not None:
            return self._with_floor(x, original)
        theta = self.spike_threshold
        theta = theta if theta.is_floating_point() else theta.to(torch.float32)
        spikes, v = if_multistep(
            x.transpose(0, 1),
            theta,
            self.v_mem,
            reset="soft" if type(layer.reset_fn) is MembraneSubtract else "hard",
            surrogate=OfSinabs(layer.surrogate_grad_fn, theta),
            detach_reset=type(layer.reset_fn) is MembraneReset,
            return_v="all" if layer.record_states else "last",
        )
        assert v is not None
        trace = v.transpose(0, 1) if layer.record_states else None
        spikes = spikes.to(torch.float32).transpose(0, 1).contiguous()
        self._leave(spikes, v[-1].clone() if layer.record_states else v, trace)
        return spikes

    def _with_floor(self, x: Tensor, original: Any) -> Tensor:
        """The same with `min_v_mem`, a floor under the potential after each step.

        Sinabs rounds twice, in v - min and + min, whether or not the floor is reached: so does this
        loop, and the operator cannot.
        """
        layer: Any = self
        floor, theta = layer.min_v_mem, self.spike_threshold
        if torch.is_grad_enabled() and (x.requires_grad or self.v_mem.requires_grad):
            return original(x)  # type: ignore[no-any-return]
        v = self.v_mem
        spikes = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        trace = None
        if layer.record_states:
            dtype = torch.promote_types(v.dtype, x.dtype)
            trace = torch.empty(x.shape, dtype=dtype, device=x.device)
        for t in range(x.shape[1]):
            v = v + x[:, t]
            fired = torch.ge(v, theta, out=spikes[:, t])
            if type(layer.reset_fn) is MembraneSubtract:
                v.sub_(fired * theta)
            else:
                v.mul_(fired == 0)
            v.sub_(floor).relu_().add_(floor)
            if trace is not None:
                trace[:, t] = v
        self._leave(spikes, v, trace)
        return spikes

    def _leave(self, spikes: Tensor, v: Tensor, trace: Tensor | None) -> None:
        """What their forward leaves behind."""
        layer: Any = self
        layer.v_mem, layer.i_syn = v, None
        layer.recordings = {} if trace is None else {"v_mem": trace}
        layer.firing_rate = spikes.mean()


class SinabsIAF(_SinabsIF, IAF):
    """Sinabs' IAF, all steps in one pass."""

    def forward(self, input_data: Tensor) -> Tensor:
        """Currents ``[B, T, *]`` to spikes of the same shape."""
        return self._all_steps(input_data, super().forward)


class SinabsIAFSqueeze(_SinabsIF, IAFSqueeze):
    """Sinabs' IAFSqueeze, all steps in one pass."""

    def forward(self, input_data: Tensor) -> Tensor:
        """Currents ``[B * T, *]`` to spikes of the same shape."""
        layer: Any = self
        run = partial(self._all_steps, original=partial(IAF.forward, self))
        return layer.squeeze_forward(input_data, run)  # type: ignore[no-any-return]


def is_neuron(module: nn.Module) -> bool:
    """Whether it is one of Sinabs' layers with state."""
    return isinstance(module, StatefulLayer)


def replace(module: nn.Module, device: torch.device) -> str | None:
    """Make the module one of the classes above, or say why it stays."""
    if isinstance(module, IAFSqueeze):
        return adopt(module, IAFSqueeze, SinabsIAFSqueeze)
    if isinstance(module, IAF):
        return adopt(module, IAF, SinabsIAF)
    return f"{type(module).__name__} is no plain IF neuron"
