"""Layers of a file fit between the shapes that it records for them; no memory is needed to see."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from spikeconv.files.malformed import REFUSALS, Malformed, said
from spikeconv.network.program import Program, Ref, Step

# Values of one image in one tensor: more than any network has, less than a memory.
MOST_VALUES = 2**31


def check_shapes(program: Program, layers: Mapping[str, nn.Module]) -> None:
    """Run every layer without memory on the shape that it is given.

    Raises:
        Malformed: one fails, gives another shape than its step records, or one too large.
    """
    shapes = {item.name: item.shape for item in program.inputs}
    for step in program.steps:
        shapes[step.name] = step.shape
        if math.prod(step.shape) > MOST_VALUES:
            raise Malformed(f"{step.name} has the shape {list(step.shape)}, which fits no memory")
        if step.kind in ("module", "max_pool") and len(step.args) == 1 and not step.kwargs:
            _check(step, layers[step.target], shapes)


def _check(step: Step, layer: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    source = step.args[0]
    if not isinstance(source, Ref) or source.name not in shapes:
        return
    state = {name: value.to("meta") for name, value in layer.state_dict().items()}
    dtypes = [value.dtype for value in state.values() if value.is_floating_point()]
    x = torch.empty(
        1, *shapes[source.name], device="meta", dtype=dtypes[0] if dtypes else torch.float32
    )
    try:
        found = functional_call(layer, state, (x,))
    except REFUSALS as error:
        raise Malformed(f"the layer of {step.name} cannot run: {said(error)}") from error
    if isinstance(found, Tensor) and tuple(found.shape[1:]) != step.shape:
        raise Malformed(
            f"the layer of {step.name} gives {list(found.shape[1:])}, not {list(step.shape)}"
        )
