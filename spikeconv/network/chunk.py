"""Some consecutive time-steps of a run, all of a layer at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from spikeconv.ops.call import state_dtype

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

    def add(self, name: str, value: Tensor, before: Tensor | None, delayed: int) -> Tensor:
        """The sum over time of what the readout reads, with these steps.

        Args:
            name: of the value; with `trains`, `running` holds its sums afterwards.
            value: a count of spikes, int32 ``[B, *]``, or a train ``[n, B, *]``.
            before: the sum up to these steps, None where there were none.
            delayed: so many of these steps come before the readout, whose sum begins after them.
        """
        if value.dtype == torch.int32:
            return value if before is None else before + value
        dtype = state_dtype(value)
        if not self.trains:
            total = value[delayed:].sum(0, dtype=dtype)
            return total if before is None else before + total
        parts = value[:delayed], value[delayed:]
        first, rest = (part.cumsum(0, dtype=dtype) for part in parts)
        if before is not None:
            (first if delayed else rest).add_(before)
        self.running[name] = torch.cat([first, rest]) if delayed else rest
        return self.running[name][-1]
