"""Gradients, which integers have not: to ask for one is an error of the backward pass, not a zero.

Calls without a backward pass are as good as under `torch.no_grad`, as they are without integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.network.program import Program, refs
from spikeconv.network.run_step import Layers


def behind(
    name: str,
    program: Program,
    layers: Layers,
    neurons: Mapping[str, nn.Module],
    fixed: Mapping[str, Any],
) -> list[Tensor]:
    """What the spikes of a population depend on that wants a gradient.

    Args:
        name: of the population.
        program, layers, neurons: the network's.
        fixed: values that are the same at every step, inputs and constants too, by name.
    """
    steps = {step.name: step for step in program.steps}
    found, left = {name}, [name]
    while left:
        step = steps.get(left.pop())
        names = {ref.name for ref in refs((step.args, step.kwargs))} if step is not None else set()
        left += names - found
        found |= names
    tensors = [fixed[one] for one in found if isinstance(fixed.get(one), Tensor)]
    for one in found & steps.keys():
        step = steps[one]
        if step.kind in ("module", "max_pool"):
            tensors += _tensors(layers[step.target])
        elif step.kind == "neuron":
            tensors += _tensors(neurons[one])
    return [tensor for tensor in tensors if tensor.requires_grad]


def refuse(value: Tensor, wanting: Sequence[Tensor]) -> Tensor:
    """The value, whose backward pass is an error where there are tensors that want a gradient."""
    if not wanting:
        return value
    refused: Tensor = _Refused.apply(value, *wanting)  # type: ignore[no-untyped-call]
    return refused


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """A module's parameters and buffers, also of the replicas that `nn.DataParallel` makes."""
    for one in module.modules():
        former: Mapping[str, Tensor | None] = getattr(one, "_former_parameters", {})
        for kept in (one._parameters, one._buffers, former):
            yield from (tensor for tensor in kept.values() if tensor is not None)


class _Refused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, *wanting: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError(
            "SpikingNetwork: a fused network has no gradients but of what follows its integers, "
            "because integer kernels have none; ask for them, after `trainable`, of the network "
            "that it was made of"
        )
