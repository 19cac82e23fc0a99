"""One call of a program, once its arguments are there: what every way to run a network shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn

from spikeconv.network.program import Phase, Program, Step, fill

Layers: TypeAlias = Mapping[str, nn.Module] | nn.ModuleDict


def run_step(step: Step, layers: Layers, args: Any, kwargs: Any) -> Any:
    """The value of one call whose arguments are filled in."""
    if step.kind in ("module", "max_pool"):
        return layers[step.target](*args, **kwargs)
    if step.kind == "method":
        return getattr(args[0], step.target)(*args[1:], **kwargs)
    return step.target(*args, **kwargs)


def constants_of(program: Program, layers: Layers, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The values that depend on no input, by name of their step."""
    values: dict[str, Any] = {}
    for step in program.phase(Phase.CONSTANT):
        if step.kind == "constant":
            values[step.name] = weights[step.target]
        else:
            args, kwargs = (fill(given, values.__getitem__) for given in (step.args, step.kwargs))
            values[step.name] = run_step(step, layers, args, kwargs)
    return values
