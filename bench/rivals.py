"""The bare neuron that ours is measured against: plain torch and SpikingJelly, each at its best."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

Scan = Callable[[Tensor], Tensor]
"""Input current [T, *] to spikes [T, *], v_init 0, threshold 1; soft reset if nothing is said."""


def torch_loop(x: Tensor) -> Tensor:
    """The eager loop with the fewest passes over memory: three in-place operations a step."""
    v = torch.zeros_like(x[0], dtype=torch.float32)
    spikes = torch.empty_like(x)
    for t in range(x.shape[0]):
        v.add_(x[t])
        torch.ge(v, 1.0, out=spikes[t])
        v.sub_(spikes[t])
    return spikes


def functional_torch_loop(x: Tensor) -> Tensor:
    """The same loop without mutation: the form that torch.compile turns into one kernel."""
    v = torch.zeros_like(x[0], dtype=torch.float32)
    steps = []
    for current in x.unbind(0):
        v = v + current
        fired = v >= 1.0
        steps.append(fired.to(x.dtype))
        v = torch.where(fired, v - 1.0, v)
    return torch.stack(steps)


def spikingjelly_missing() -> str | None:
    """None where SpikingJelly can be imported, else why not."""
    try:
        functional = import_module("spikingjelly.activation_based.functional")
    except ImportError as error:
        return f"{error} (pip install spikingjelly==2.0.0, or make bench)"
    if not hasattr(functional, "activation_aware_if_multi_step"):
        return "the spikingjelly that is installed is older than 2.0.0"
    return None


def spikingjelly_if(
    dtype: torch.dtype, v_reset: float | None = None, surrogate: Any = None
) -> Scan:
    """SpikingJelly's multi-step `IFNode` for one dtype of current.

    It takes the dtype of the current for its membrane, which is another computation in 16 bits, and
    a slower one; there its functional form is given a float32 membrane.

    Args:
        dtype: of the current.
        v_reset: where a hard reset goes to, or None for a soft one.
        surrogate: one of SpikingJelly's, for training; None for inference.
    """
    options: dict[str, Any] = {"v_threshold": 1.0, "v_reset": v_reset}
    if surrogate is not None:
        options["surrogate_function"] = surrogate
    if dtype == torch.float32:
        neuron: Any = import_module("spikingjelly.activation_based.neuron")
        node = neuron.IFNode(**options, step_mode="m").train(surrogate is not None)

        def run_node(x: Tensor) -> Tensor:
            node.reset()
            spikes: Tensor = node(x)
            return spikes

        return run_node
    functional: Any = import_module("spikingjelly.activation_based.functional")

    def run_functional(x: Tensor) -> Tensor:
        v = torch.zeros_like(x[0], dtype=torch.float32)
        spikes: Tensor = functional.if_multi_step(x, v, **options)[0]
        return spikes

    return run_functional
