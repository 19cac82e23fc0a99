"""SpikingJelly, both dialects: 2.0.0, and 0.0.0.0.14 on which most published code stands."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch
from spikingjelly.activation_based import base
from torch import Tensor, nn

from spikeconv.drop_in.adopted import changed_by_user
from spikeconv.neuron import IFNode
from spikeconv.node_arguments import as_potential
from spikeconv.spike_function import no_step

_NEURONS = "spikingjelly.activation_based.neuron"
_PLAIN = ("IFNode", "HalfThresholdIFNode", "ActivationAwareIFNode", "SimpleIFNode")

# The parts of a module that outlive a change of its class.
_KEPT = {name for name in vars(nn.Module()) if "hook" in name} | {"training"}


class SpikingJellyIF(IFNode, base.MemoryModule):
    """An `IFNode` that SpikingJelly's functions take for one of theirs, without a warning.

    Its potential is one of their memories, and like the original it has no entries in checkpoints.
    """

    supported_backends = ("torch", "cupy", "lava")  # what 0.0.0.0.14 asks for
    _next_start: Tensor | None = None  # what set_reset_value said since the last reset

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self._v
        base.MemoryModule.register_memory(self, "_v", None)
        self._non_persistent_buffers_set.update(self._buffers)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "surrogate_function" and isinstance(value, nn.Module):
            why = _why_surrogate(value)
            if why is not None:
                raise ValueError(f"SpikingJellyIF: {why}, and a replaced neuron does")
        super().__setattr__(name, value)

    def reset(self) -> None:
        """Begin anew at the reset value."""
        if self._next_start is not None:
            self.v_init, self._next_start = self._next_start.to(self.v_init.device), None
        super().reset()

    def get_reset_value(self, name: str) -> object:
        """What reset() sets a memory to: of ``"v"`` the initial potential."""
        if name != "v":
            return base.MemoryModule.get_reset_value(self, name)
        start = self.v_init if self._next_start is None else self._next_start
        return start.item() if start.numel() == 1 else start

    def set_reset_value(self, name: str, value: Any) -> None:
        """What reset() shall set a memory to, from the next one on."""
        if name != "v":
            base.MemoryModule.set_reset_value(self, name, value)
            return
        exact = torch.as_tensor(value, dtype=_wide(value))
        self._next_start = as_potential(exact, self.v_threshold)

    def single_step_forward(self, x: Tensor) -> Tensor:
        """One step, whatever the step mode."""
        return self._one_step(x, None)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """All steps of ``[T, *]``, whatever the step mode."""
        return self._all_steps(x_seq, None)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state["_memories"] = {
            name: value.detach() if isinstance(value, Tensor) else value
            for name, value in state["_memories"].items()
        }
        return state


def is_neuron(module: nn.Module) -> bool:
    """Whether it is one of SpikingJelly's neurons, or derived from one."""
    return any(cls.__module__.startswith(_NEURONS) for cls in type(module).__mro__)


def _theirs(module: nn.Module) -> type:
    """The class of theirs that a neuron is of, or derives from."""
    return next(cls for cls in type(module).__mro__ if cls.__module__.startswith("spikingjelly."))


def replace(module: nn.Module, device: torch.device) -> str | None:
    """Make the module a `SpikingJellyIF`, or say why it stays."""
    why = _why_left(module)
    if why is not None:
        return why
    try:
        new = _node(module)
    except (TypeError, ValueError) as error:
        return str(error)
    neuron: Any = module
    start, now = _memory(module)
    # What is a tensor already lies where it belongs.
    lying = [value.device for value in (neuron.v_threshold, now) if isinstance(value, Tensor)]
    new.to((*lying, device)[0])
    new.v_seq = getattr(module, "v_seq", None)
    if isinstance(now, Tensor) or now != start:
        new.v = now
    _become(module, new)
    return None


def _memory(module: nn.Module) -> tuple[Any, Any]:
    """The potential that reset() goes back to, and the present one."""
    neuron: Any = module
    return neuron._memories_rv["v"], neuron._memories["v"]


def _why_left(module: nn.Module) -> str | None:
    kind = _theirs(module)
    if kind.__name__ not in _PLAIN or not kind.__module__.startswith(_NEURONS):
        leaks = hasattr(module, "tau") or hasattr(module, "w")
        return f"{kind.__name__} leaks" if leaks else f"{kind.__name__} is no plain IF neuron"
    why = changed_by_user(module, kind)
    if why is not None:
        return why
    neuron: Any = module
    if set(module._modules) - {"surrogate_function"}:
        return "it holds other modules"
    if set(module._parameters):
        return f"{', '.join(module._parameters)} is learned"
    theta = neuron.v_threshold
    if not isinstance(theta, Real | Tensor):
        return f"v_threshold is a {type(theta).__name__}"
    if isinstance(theta, Tensor) and theta.requires_grad:
        return "v_threshold is learned"
    values = theta.flatten().tolist() if isinstance(theta, Tensor) else [float(theta)]
    if not all(0 < value < math.inf for value in values):
        return "v_threshold must be positive and finite here"
    if kind.__name__ == "ActivationAwareIFNode" and bool(neuron.v_offset.any()):
        return "it fires on v + v_offset, our neurons on v"
    if getattr(neuron, "_neuron_precision", None) is not None:
        return "its precision was configured (neuron_storage)"
    if set(neuron._memories) - {"v_seq"} != {"v"}:
        return "it has more state than a potential"
    return _why_surrogate(neuron.surrogate_function)


def _why_surrogate(function: Any) -> str | None:
    if not isinstance(function, nn.Module):
        return "surrogate_function is a plain function, of which it is not known what it emits"
    return no_step(function)


def _node(module: nn.Module) -> SpikingJellyIF:
    """A node that computes what the module does."""
    neuron: Any = module
    theta = neuron.v_threshold
    start, _ = _memory(module)
    exact = [torch.as_tensor(value, dtype=_wide(value)) for value in (theta, start)]
    return SpikingJellyIF(
        exact[0],
        exact[1],
        v_reset=neuron.v_reset,
        surrogate_function=neuron.surrogate_function,
        detach_reset=neuron.detach_reset,
        step_mode=neuron.step_mode,
        keep_state=True,
        store_v_seq=getattr(neuron, "store_v_seq", False),
        channel_dim=getattr(neuron, "channel_dim", None),
    )


def _wide(value: float | Tensor) -> torch.dtype | None:
    """Their numbers have 64 bits, which float64 networks see where 32 are not enough."""
    if isinstance(value, Tensor):
        return None
    short = torch.tensor(value, dtype=torch.float32)
    return torch.float32 if short.item() == value else torch.float64


def _become(module: nn.Module, new: nn.Module) -> None:
    """Make one module the other, without another identity, hooks or mode.

    References to it, its handles of hooks, and SpikingJelly's own list of what it resets stay true.
    """
    new_state = {name: value for name, value in vars(new).items() if name not in _KEPT}
    for name in new._buffers:
        module.__dict__.pop(name, None)  # a plain attribute would hide the buffer
    module.__class__ = type(new)
    module.__dict__.update(new_state)
