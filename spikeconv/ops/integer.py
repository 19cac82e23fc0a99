"""The integer program's compiled form: layers with packed weights, run on planes of spikes."""

from __future__ import annotations

from typing import Any

import torch

from spikeconv.ops.native import load


def new_program(isa: str | None = None, events: str = "auto") -> Any:
    """An empty compiled program; csrc/cpu/int_program.h says what its methods do.

    Args:
        isa: one of `ops.native.instruction_sets`, or None for the one that CPU kernels run with.
        events: whether weights are added up at the places of spikes, instead of multiplied by all
            that may be spikes: ``"auto"`` where it takes less time, ``"always"`` where a layer can,
            or ``"never"``. The bits are the same.

    Raises:
        RuntimeError: the extension is missing, the processor lacks that instruction set, or
            `events` is none of these.
    """
    reason = load()
    if reason is not None:
        raise RuntimeError(f"integer program: {reason}")
    return torch.classes.spikeconv._IntegerProgram(isa or "", events)
