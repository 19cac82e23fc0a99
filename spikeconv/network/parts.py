"""A spiking network taken apart: what it is made of, and all that a file needs to keep of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from spikeconv.network.program import Program
from spikeconv.network.report import Report
from spikeconv.network.timing import Timing
from spikeconv.neuron import IFNode


@dataclass(frozen=True)
class Parts:
    """What a `SpikingNetwork` is made of.

    Attributes:
        kind: name of its class.
        program: its calls.
        layers: by name of their step; those that calibration has refitted as they are now.
        originals: the ANN's own layers where calibration has refitted them.
        neurons: an `IFNode` for every neuron step.
        constants: weights that functions read, by name of their step.
        T: time-steps of a call that does not say.
        timing: which of them are read.
        report: what conversion did.
        precision: of the weights in integers where the network is fused, else None.
    """

    kind: str
    program: Program
    layers: Mapping[str, nn.Module]
    originals: Mapping[str, nn.Module]
    neurons: Mapping[str, IFNode]
    constants: Mapping[str, Tensor]
    T: int
    timing: Timing
    report: Report
    precision: str | None = None
