"""Gradients, which integers have not: to ask for one is an error of the backward pass, not a zero.

Calls without a backward pass are as good as under `torch.no_grad`, as they are without integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.network.program import Phase, Program
from spikeconv.network.run_step import Layers
from spikeconv.network.structure import map_tensors


def before_the_head(
    program: Program, layers: Layers, neurons: Mapping[str, nn.Module]
) -> list[Tensor]:
    """The parameters whose gradients would have to pass through spikes."""
    names = {
        step.target
        for step in program.steps
        if step.phase is not Phase.READOUT and step.kind in ("module", "max_pool")
    }
    modules = (*(layers[name] for name in names), *neurons.values())
    return [parameter for module in modules for parameter in module.parameters()]


def refuse(output: Any, tensors: Sequence[Tensor]) -> Any:
    """The output, whose backward pass is an error where one of the tensors wants a gradient."""
    wanting = [tensor for tensor in tensors if tensor.requires_grad]
    if not wanting or not torch.is_grad_enabled():
        return output

    def each(y: Tensor) -> Tensor:
        if not y.is_floating_point():
            return y
        refused: Tensor = _Refused.apply(y, *wanting)  # type: ignore[no-untyped-call]
        return refused

    return map_tensors(each, output)


class _Refused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, *wanting: Tensor) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError(
            "SpikingNetwork: a fused network has no gradients but of what follows its last "
            "neurons, because integer kernels have none; ask for them, after `trainable`, of the "
            "network that it was made of"
        )
