"""One call of a program, once its arguments are there: what every way to run a network shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import nn

from spikeconv.convert.program import Step

Layers: TypeAlias = Mapping[str, nn.Module] | nn.ModuleDict


def run_step(step: Step, layers: Layers, args: Any, kwargs: Any) -> Any:
    """The value of one call whose arguments are filled in."""
    if step.kind in ("module", "max_pool"):
        return layers[step.target](*args, **kwargs)
    if step.kind == "method":
        return getattr(args[0], step.target)(*args[1:], **kwargs)
    return step.target(*args, **kwargs)
