"""Some consecutive time-steps of a run, all of a layer at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Values = dict[str, Any]


@dataclass
class Chunk:
    """What is known of the steps that run now.

    Attributes:
        steps: how many, n.
        last: no potential is needed after them.
        trains: the readout wants to know of every step, not of all together.
        values: of the temporal calls so far, ``[n * B, *]``, time outermost.
        running: with `trains`, the sums after each step ``[n, B, *]`` of what the readout reads.
    """

    steps: int
    last: bool
    trains: bool
    values: Values = field(default_factory=dict)
    running: dict[str, Tensor] = field(default_factory=dict)
