"""A report from a run: what every layer's neurons did, beside the ANN's activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from spikeconv.network.monitor import Monitor
from spikeconv.network.operations import Operations
from spikeconv.network.program import Program
from spikeconv.network.report import Report, kept_analog, layer_report
from spikeconv.network.timing import Timing
from spikeconv.neuron import IFNode


def measured_report(
    report: Report,
    program: Program,
    neurons: Mapping[str, IFNode],
    activations: Mapping[str, Tensor],
    monitor: Monitor,
    operations: Operations,
    *,
    T: int,
    images: int,
    timing: Timing,
    dead_channels: Mapping[str, int],
) -> Report:
    """A network's report with its figures replaced by those of a run.

    Args:
        report: what is kept of: settings and what was tried.
        program, neurons, timing: the network's.
        activations: the ANN's ``[B, *]`` on the same images, by name of the population.
        monitor: of the run, with its counts kept.
        operations: of the run.
        T: its time-steps.
        images: how many there were.
        dead_channels: those never active in calibration, by name.

    Raises:
        ValueError: there were no images.
    """
    if images == 0:
        raise ValueError("SpikingNetwork.report: x must have at least one image, got none")
    rows = tuple(
        layer_report(
            step.name,
            step.label,
            neurons[step.name],
            activations[step.name],
            monitor,
            timing.steps_read(T),
            dead_channels[step.name],
        )
        for step in program.neurons()
    )
    return replace(
        report,
        rows=rows,
        T=T,
        images=images,
        settings=_without_timing(report.settings) | timing.settings(),
        analog=kept_analog(program),
        operations=operations,
    )


def _without_timing(settings: dict[str, Any]) -> dict[str, Any]:
    """What a report said, less what the network's timing may have become since."""
    return {name: value for name, value in settings.items() if name not in asdict(Timing())}
