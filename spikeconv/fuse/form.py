"""The integer form of a network: a plan for each size of images and range of T, and its engine."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch, image_shapes, tensors_of
from spikeconv.changes import Watch
from spikeconv.fuse.engine import Engine
from spikeconv.fuse.engines import check_backend, choose_engine, make_engine
from spikeconv.fuse.layer import WEIGHTS
from spikeconv.fuse.plan import Plan, make_plan
from spikeconv.fuse.shapes import program_for
from spikeconv.network.program import Program
from spikeconv.network.settled import settle
from spikeconv.network.timing import Timing
from spikeconv.neuron import IFNode

# Steps that are safe, the shapes of an image, and whether it is in float64.
PlanKey = tuple[int, tuple[tuple[int, ...], ...], bool]

PRECISIONS = tuple(WEIGHTS)

# Membranes of a plan are safe for so many steps, or for the next power of two of longer runs, which
# have coarser units. Weights of 24 bits are as fine as steps allow.
_STEPS = {"int8": 64, "int16": 64, "int24": 8}

# Plans and engines that are kept, of the images and steps that came last.
_KEPT = 4


class IntegerForm:
    """What `SpikingNetwork.fuse` adds to a network.

    Plans are made of the layers and neurons as they are: `follow` notices where they changed.

    Args:
        program, layers, neurons, weights, timing: the network's, of which `layers` and `neurons`
            show what is replaced in them.
        precision: of the weights, ``"int8"``, ``"int16"`` or ``"int24"``.
        backend: name of the engine, None for the best one of the device that it runs on.

    Raises:
        ValueError: another precision or backend.
    """

    def __init__(
        self,
        program: Program,
        layers: Mapping[str, nn.Module],
        neurons: Mapping[str, IFNode],
        weights: Mapping[str, Tensor],
        timing: Timing,
        precision: str,
        backend: str | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            known = ", ".join(map(repr, PRECISIONS))
            raise ValueError(f"fuse: precision must be one of {known}, got {precision!r}")
        check_backend(backend)
        self.precision = precision
        self.backend = backend
        self._program = program
        self._layers = layers
        self._neurons = neurons
        self._weights = weights
        self._timing = timing
        self._plans: dict[PlanKey, Plan] = {}
        self._engines: dict[tuple[PlanKey, torch.device, str], Engine] = {}
        self._watch = Watch()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Without plans and engines, which hold memory and pointers, and can be made again."""
        return {**self.__dict__, "_plans": {}, "_engines": {}, "_watch": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _watch=Watch(), _lock=threading.Lock())

    def follow(self, weights: Mapping[str, Tensor], timing: Timing) -> None:
        """Forget plans and engines where what they were made of is not what it was.

        Args:
            weights, timing: the network's as they are now.
        """
        with self._lock:
            modules = (*self._layers.values(), *self._neurons.values())
            changed = self._watch.changed(modules, weights.values())
            if changed:
                for layer in self._layers.values():
                    settle(layer)
                self._watch.changed(modules, weights.values())  # which is no change to follow
            if changed or timing != self._timing:
                self._plans.clear()
                self._engines.clear()
            self._weights, self._timing = weights, timing

    def forget_engines(self) -> None:
        """Give back the memory of packed weights and of spikes between layers."""
        with self._lock:
            self._engines.clear()

    def for_run(self, T: int, batch: Batch) -> tuple[Plan, Engine]:
        """The plan of a run of T steps on such a batch, and what computes it on its device.

        Raises:
            ValueError: the engine asked for, or what SPIKECONV_BACKEND names, does not run there.
        """
        wide = any(tensor.dtype == torch.float64 for tensor in tensors_of(batch))
        key = self._steps_of_plan(T), image_shapes(batch), wide
        device = tensors_of(batch)[0].device
        name = choose_engine(self.backend, device)
        with self._lock:
            plan = self._kept_plan(key, batch)
            if (key, device, name) not in self._engines:
                _make_room(self._engines)
                encoders = plan.encoders.values()
                self._engines[key, device, name] = make_engine(name, plan.program, encoders)
            return plan, self._engines[key, device, name]

    def plan(self, T: int) -> Plan:
        """The plan of a run of T steps on images of the size that it was converted with."""
        key = self._steps_of_plan(T), tuple(item.shape for item in self._program.inputs), False
        with self._lock:
            return self._kept_plan(key)

    def _steps_of_plan(self, T: int) -> int:
        return max(_STEPS[self.precision], 1 << (T - 1).bit_length())

    def _kept_plan(self, key: PlanKey, batch: Batch | None = None) -> Plan:
        """The plan with this key, made where it is not kept; the lock must be held.

        Args:
            key: steps, shapes and whether in float64.
            batch: of such shapes; None where they are those that it was converted with.
        """
        if key not in self._plans:
            _make_room(self._plans)
            program = self._program
            if batch is not None:
                program = program_for(program, self._layers, self._neurons, self._weights, batch)
            steps, _, wide = key
            self._plans[key] = make_plan(
                program,
                self._layers,
                self._neurons,
                self._weights,
                self._timing,
                self.precision,
                steps,
                encode=not wide,
            )
        return self._plans[key]

    def paths(self, T: int, batch: Batch | None = None) -> dict[str, str]:
        """How every population runs, by name: in which of `PRECISIONS`, or why in floating point.

        Args:
            T: time-steps of the run.
            batch: of the run; None: of images of the size that it was converted with.
        """
        plan = self.plan(T) if batch is None else self.for_run(T, batch)[0]
        layers, reasons = plan.program.layers, plan.reasons
        return {
            step.name: layers[step.name].precision
            if step.name in layers
            else f"float: {reasons[step.name]}"
            for step in self._program.neurons()
        }


def _make_room(cache: dict[Any, Any]) -> None:
    """Forget the oldest where there are as many as are kept."""
    while len(cache) >= _KEPT:
        del cache[next(iter(cache))]
