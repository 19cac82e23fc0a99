"""The integer program's compiled form: layers with packed weights, run on planes of spikes."""

from __future__ import annotations

from typing import Any

import torch

from spikeconv.ops.native import load


def new_program(isa: str | None = None, sums: str = "auto") -> Any:
    """An empty compiled program; csrc/cpu/int_program.h says what its methods do.

    Args:
        isa: one of `ops.native.instruction_sets`, or None for the one that CPU kernels run with.
        sums: how they are made: ``"products"`` of weights with all that may be spikes; where a
            layer can, from ``"events"``, the places of spikes, at which weights are added up, or by
            ``"lookups"`` of several spikes at once in tables; or ``"auto"``, by what takes least
            time. The bits are the same.

    Raises:
        RuntimeError: the extension is missing, the processor lacks that instruction set, or
            `sums` is none of these.
    """
    reason = load()
    if reason is not None:
        raise RuntimeError(f"integer program: {reason}")
    return torch.classes.spikeconv._IntegerProgram(isa or "", sums)
