"""snnTorch: Leaky with beta = 1, one step a call, which resets at the next step or at once."""

from __future__ import annotations

from typing import Any

import torch
from snntorch import Leaky, SpikingNeuron
from torch import Tensor, nn

from spikeconv.drop_in.adopted import Adopted, adopt, shape_changed

# Its surrogates whose forward pass is the step at > 0: those whose calls work at all.
_STEPS = {
    *("SSO", "SFS", "atan", "custom_surrogate", "fast_sigmoid", "heaviside", "sigmoid"),
    *("spike_rate_escape", "straight_through_estimator", "triangular"),
}


class SnnTorchLeaky(Adopted, Leaky):
    """snnTorch's Leaky with beta = 1, in half as many operations, each of them as it rounds.

    With theta its threshold and mem what the call before returned, in this order::

        r   = 1 if mem > theta else 0
        mem = (mem + x) - r * theta                  reset_mechanism="subtract"
        mem = (1 - r) * mem + x                      reset_mechanism="zero"
        spk = 1 if mem > theta else 0
        mem = mem - (spk - r) * theta (or * mem)     reset_delay=False

    That is not `if_multistep`'s order, whose bits would differ.
    """

    mem: Tensor
    threshold: Tensor
    beta: Tensor
    reset_mechanism_val: Tensor
    _subtracts: bool

    def _relies_on(self) -> tuple[Any, ...]:
        layer: Any = self
        return (
            *(self.beta, layer.graded_spikes_factor, self.reset_mechanism_val, layer.inhibition),
            *(layer.state_quant, layer.spike_grad, layer.state_function),
        )

    def _why_not(self) -> str | None:
        layer: Any = self
        if isinstance(self.beta, nn.Parameter) or isinstance(
            layer.graded_spikes_factor, nn.Parameter
        ):
            return "beta or graded_spikes_factor is learned"
        if not bool((self.beta >= 1).all()):  # it is clamped to 1
            return f"it leaks (beta = {self.beta.min().item():g})"
        if not bool((layer.graded_spikes_factor == 1).all()):
            return "graded_spikes_factor is not 1"
        if layer.inhibition or layer.state_quant:
            return "inhibition" if layer.inhibition else "state_quant"
        number = int(self.reset_mechanism_val)
        functions = (Leaky._base_sub, Leaky._base_zero, Leaky._base_int)
        if getattr(layer.state_function, "__func__", None) is not functions[number]:
            return "its reset mechanism was changed after construction"
        if number == 2:
            return "reset_mechanism is 'none'"
        return _why_surrogate(layer.spike_grad)

    def _settle(self) -> None:
        self._subtracts = int(self.reset_mechanism_val) == 0

    def forward(self, input_: Tensor, mem: Tensor | None = None) -> Any:
        """A current ``[*]`` and the potential before, or None, to spikes and the potential."""
        layer: Any = self
        if not self._is_plain():
            return super().forward(input_, mem)
        if mem is not None:
            if layer.init_hidden:
                raise TypeError(
                    "`mem` should not be passed as an argument while `init_hidden=True`"
                )
            self.mem = mem
        before = self.mem
        if before.shape != input_.shape:
            if bool(before.any()):
                raise shape_changed("Leaky", before, input_.shape, "reset_mem() or utils.reset()")
            before = torch.zeros_like(input_, device=before.device)
        theta = self.threshold
        training = torch.is_grad_enabled() and (
            input_.requires_grad or before.requires_grad or theta.requires_grad
        )
        r = _above(before.detach(), theta.detach())
        after = before + input_ if self._subtracts else (1.0 - r) * before + input_
        if self._subtracts:
            after = after - r * theta
        spk = layer.spike_grad(after - theta) if training else _above(after, theta)
        if not layer.reset_delay:
            after = after - (spk - r) * (theta if self._subtracts else after)
        self.mem, layer.reset = after, r
        return spk if layer.init_hidden and not layer.output else (spk, after)


def _above(v: Tensor, theta: Tensor) -> Tensor:
    """1 where v > theta, else 0, in float32 as all spikes of snnTorch."""
    if torch.compiler.is_compiling():
        return (v > theta).to(torch.float32)
    shape = v.shape if theta.dim() == 0 else torch.broadcast_shapes(v.shape, theta.shape)
    spikes = torch.empty(shape, dtype=torch.float32, device=v.device)
    return torch.gt(v, theta, out=spikes)  # five times faster than by way of a mask of bool


def _why_surrogate(function: Any) -> str | None:
    """Why a spike function may emit other than 1 above 0 and 0 elsewhere; None if it does not."""
    if function is SpikingNeuron._surrogate_bypass:
        return None
    made_by = getattr(function, "__qualname__", "").partition(".")[0]
    if getattr(function, "__module__", "") == "snntorch.surrogate" and made_by in _STEPS:
        return None
    return "spike_grad is a function of its own, of which it is not known what it emits"


def is_neuron(module: nn.Module) -> bool:
    """Whether it is one of snnTorch's neurons."""
    return isinstance(module, SpikingNeuron)


def replace(module: nn.Module, device: torch.device) -> str | None:
    """Make the module a `SnnTorchLeaky`, or say why it stays."""
    if isinstance(module, Leaky):
        return adopt(module, Leaky, SnnTorchLeaky)
    return f"{type(module).__name__} is no plain IF neuron"
