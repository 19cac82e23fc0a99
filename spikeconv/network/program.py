"""A network as a program of four phases: plain data that a simulation runs.

- **constant**: weights that a function reads, and what is computed from them alone.
- **static**: what depends on no neuron is the same at every step, so it is computed once.
- **temporal**: neurons, and what stands between them, over all time-steps.
- **readout**: what follows the last neuron is linear, so it runs once, on the mean over time.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from spikeconv.calibrate.inputs import Batch, tensors_of

INPUT = "input"


class Phase(enum.Enum):
    """When a step runs; the order of the members is the order of the phases."""

    CONSTANT = "constant"
    STATIC = "static"
    TEMPORAL = "temporal"
    READOUT = "readout"


@dataclass(frozen=True)
class Ref:
    """In a step's arguments: the value that the step of this name gave."""

    name: str


@dataclass(frozen=True)
class Step:
    """One call. `kind` is neuron, max_pool, module, function, method or constant.

    `target` is the layer's name, the function, the method's name or the constant's name; `shape`
    that of one image's value. A step that broadcasts is elementwise, and an operand of it may be
    the same at every time-step. `analog` is how a user would write a call that has no spiking form
    and was kept on request, else "".
    """

    name: str
    kind: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    phase: Phase
    label: str
    shape: tuple[int, ...] = ()
    broadcasts: bool = False
    analog: str = ""


@dataclass(frozen=True)
class Input:
    """A tensor that the network is called with.

    Attributes:
        name: of its value in the program.
        argument: its name in the ANN's forward.
        shape: of one image's value, as calibration had it.
        dtype: as calibration had it.
    """

    name: str
    argument: str
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass
class Program:
    """The steps in order, the output's structure of `Ref`s, and what crosses into the readout.

    Attributes:
        steps: all steps, in an order in which every value is ready when it is read.
        output: nested tuples, lists and dicts of `Ref`s.
        inputs: what the network is called with, in that order.
        widest: values in the largest tensor between two steps, for one such input.
        fixed_size: the program holds for images of the inputs' shapes only.
        boundary: names of the temporal values that the readout reads as means over time.
        inner: names of the temporal values that other temporal steps read.
        last_reads: for each step, the values that neither a later one nor the output reads.
        last_temporal_reads: for each temporal step, the temporal values that no later one reads.
    """

    steps: tuple[Step, ...]
    output: Any
    inputs: tuple[Input, ...]
    widest: int
    fixed_size: bool = False
    boundary: frozenset[str] = field(init=False)
    inner: frozenset[str] = field(init=False)
    last_reads: dict[str, tuple[str, ...]] = field(init=False)
    last_temporal_reads: dict[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        phases = {step.name: step.phase for step in self.steps}
        temporal = {name for name, phase in phases.items() if phase is Phase.TEMPORAL}
        inner: set[str] = set()
        outer = {ref.name for ref in refs(self.output)}
        for step in self.steps:
            read = inner if step.phase is Phase.TEMPORAL else outer
            read |= {ref.name for ref in refs((step.args, step.kwargs))}
        self.inner = frozenset(inner & temporal)
        self.boundary = frozenset(outer & temporal)
        kept = {ref.name for ref in refs(self.output)}
        self.last_reads = _last_reads(self.steps, kept)
        self.last_temporal_reads = _last_reads(tuple(self.phase(Phase.TEMPORAL)), set())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image's first input, as calibration had it."""
        return self.inputs[0].shape

    def bind(self, batch: Batch) -> dict[str, Any]:
        """The values that a run begins with: the inputs by their names.

        Raises:
            ValueError: images of another size than the one that the network was traced for.
        """
        values: dict[str, Any] = {}
        for item, tensor in zip(self.inputs, tensors_of(batch), strict=True):
            if self.fixed_size and tensor.shape[1:] != item.shape:
                raise ValueError(
                    f"SpikingNetwork: {item.argument} must be of shape "
                    f"[{', '.join(['B', *map(str, item.shape)])}], got {list(tensor.shape)}; the "
                    "network's forward depends on the size of its input, so it was converted for "
                    "this one only; convert it once more with images of the other size"
                )
            values[item.name] = tensor
        return values

    def widest_for(self, batch: Batch) -> float:
        """Values of one image of a batch in the widest layer, 1 or more."""
        return max(1.0, self.widest * self._scale(batch))

    def read_out_for(self, batch: Batch) -> float:
        """Values of one image of a batch that the readout reads at a step, 1 or more."""
        sizes = (math.prod(step.shape) for step in self.steps if step.name in self.boundary)
        return max(1.0, sum(sizes) * self._scale(batch))

    def _scale(self, batch: Batch) -> float:
        """How much larger a batch's images are than those that it was traced with."""
        return max(
            math.prod(tensor.shape[1:]) / max(1, math.prod(item.shape))
            for tensor, item in zip(tensors_of(batch), self.inputs, strict=True)
        )

    def phase(self, phase: Phase) -> Iterator[Step]:
        """The steps of one phase, in order."""
        return (step for step in self.steps if step.phase is phase)

    def neurons(self) -> Iterator[Step]:
        """The steps that are neurons, in order."""
        return (step for step in self.steps if step.kind == "neuron")


def _last_reads(steps: tuple[Step, ...], kept: set[str]) -> dict[str, tuple[str, ...]]:
    """For each step, the values that can be forgotten after it."""
    last: dict[str, str] = {}
    for step in steps:
        names = {ref.name for ref in refs((step.args, step.kwargs))} - kept
        last.update(dict.fromkeys((*names, step.name), step.name))
    dead: dict[str, list[str]] = {step.name: [] for step in steps}
    for name, reader in last.items():
        if name not in kept:
            dead[reader].append(name)
    return {name: tuple(names) for name, names in dead.items()}


def refs(value: Any) -> Iterator[Ref]:
    """Every reference in nested arguments."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from refs(item)
    elif isinstance(value, dict):
        yield from refs(tuple(value.values()))
    elif isinstance(value, slice):
        yield from refs((value.start, value.stop, value.step))


def fill(value: Any, read: Callable[[str], Any]) -> Any:
    """Nested arguments with every reference replaced by what `read` gives for its name."""
    if isinstance(value, Ref):
        return read(value.name)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(fill(item, read) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(fill(item, read) for item in value)
    if isinstance(value, dict):
        return {key: fill(item, read) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(fill(v, read) for v in (value.start, value.stop, value.step)))
    return value
