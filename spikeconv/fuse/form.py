"""The integer form of a network: its plans, one for each range of T, and their engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from spikeconv.convert.program import Program
from spikeconv.convert.timing import Timing
from spikeconv.fuse.engine import Engine
from spikeconv.fuse.engines import check_backend, make_engine
from spikeconv.fuse.plan import Plan, make_plan
from spikeconv.neuron import IFNode

PRECISIONS = ("int8", "int16")

# Membranes of a plan are safe for so many steps, or for the next power of two of longer runs, which
# have coarser units.
_STEPS = 64


class IntegerForm:
    """What `SpikingNetwork.fuse` adds to a network.

    Args:
        program, layers, neurons, timing: the network's.
        precision: of the weights, ``"int8"`` or ``"int16"``.
        backend: name of the engine, None for the best one of the device that it runs on.

    Raises:
        ValueError: another precision or backend.
    """

    def __init__(
        self,
        program: Program,
        layers: Mapping[str, nn.Module],
        neurons: Mapping[str, IFNode],
        timing: Timing,
        precision: str,
        backend: str | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            known = " or ".join(map(repr, PRECISIONS))
            raise ValueError(f"fuse: precision must be {known}, got {precision!r}")
        self._parts = program, layers, neurons, timing
        check_backend(backend)
        self.precision = precision
        self.backend = backend
        self._plans: dict[int, Plan] = {}
        self._engines: dict[tuple[int, torch.device], Engine] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without plans and engines, which hold memory and pointers, and can be made again."""
        return {**self.__dict__, "_plans": {}, "_engines": {}}

    def for_run(self, T: int, device: torch.device) -> tuple[Plan, Engine]:
        """The plan of a run of T steps, and what computes it on a device."""
        plan, key = self.plan(T), (_steps_of_plan(T), device)
        if key not in self._engines:
            self._engines[key] = make_engine(plan.program, device, self.backend)
        return plan, self._engines[key]

    def plan(self, T: int) -> Plan:
        """The plan of a run of T steps."""
        steps = _steps_of_plan(T)
        if steps not in self._plans:
            self._plans[steps] = make_plan(*self._parts, self.precision, steps)
        return self._plans[steps]

    def paths(self, T: int) -> dict[str, str]:
        """How every population runs, by name: ``"int8"``, ``"int16"`` or why in floating point."""
        plan = self.plan(T)
        names = (step.name for step in self._parts[0].neurons())
        layers, reasons = plan.program.layers, plan.reasons
        return {
            name: layers[name].precision if name in layers else f"float: {reasons[name]}"
            for name in names
        }


def _steps_of_plan(T: int) -> int:
    return max(_STEPS, 1 << (T - 1).bit_length())
