"""What a converted network says about itself, layer by layer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from spikeconv.network.monitor import Monitor
from spikeconv.network.operations import Operations
from spikeconv.network.program import Program
from spikeconv.neuron import IFNode

_WHEN = {
    "static": "before the first neuron, computed once",
    "readout": "after the last neuron, on the mean over time",
}


@dataclass(frozen=True)
class LayerReport:
    """One neuron layer: its parameters, how it fires, and how far its mean is from the ANN's.

    Attributes:
        name: key in `SpikingNetwork.neurons`.
        layer: where the activation stands in the network that was converted.
        shape: neurons of one image.
        v_threshold: (least, mean, largest) threshold.
        v_init: (least, mean, largest) initial potential, in units of the threshold.
        firing_rate: spikes of either sign per neuron and time-step that was run, 0 to 1.
        never_fired: share of neurons that fired for no image, 0 to 1.
        error: ||theta * count / T - a|| / ||a|| over all images, a the ANN's activation; count and
            T of the steps that are read.
        dead_channels: channels that were never active in calibration; their threshold is a guess.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    v_threshold: tuple[float, float, float]
    v_init: tuple[float, float, float]
    firing_rate: float
    never_fired: float
    error: float
    dead_channels: int = 0


@dataclass(frozen=True)
class KeptAnalog:
    """An operation without a spiking form that was kept as it is, on request.

    Attributes:
        operation: as a user would write it.
        layer: where it stands in the network that was converted.
        phase: ``"static"``, computed once per image, or ``"readout"``, on the mean over time.
    """

    operation: str
    layer: str
    phase: str


@dataclass(frozen=True)
class Tried:
    """A combination of methods that `convert` tried.

    Attributes:
        method: the combination, as settings.
        error: ||snn - ann|| / ||ann|| of the outputs on calibration images that no correction was
            fitted to. Thresholds are of all calibration images.
        held_out: there were such images; else it is the only one, which corrections were fitted to.
    """

    method: str
    error: float
    held_out: bool = True


@dataclass(frozen=True)
class Report:
    """All neuron layers of a network, in order, and what they were measured on.

    `tried` are the combinations that ``method="best"`` compared, the one that was kept first;
    `analog` are the operations that were kept although they have no spiking form; `operations`
    what the layers between the neurons compute, None where nothing was measured; `paths` says of a
    fused network, by layer name, how each layer runs: "int8", "int16", "int24", or "float" and why;
    `before_fusing`, that the figures are those of the network in floating point.
    """

    rows: tuple[LayerReport, ...]
    T: int
    images: int
    settings: dict[str, Any]
    tried: tuple[Tried, ...] = ()
    analog: tuple[KeptAnalog, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)
    operations: Operations | None = None
    before_fusing: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON; what was not measured is None."""
        operations = None if self.operations is None else self.operations.to_dict()
        plain: dict[str, Any] = _without_nan({**asdict(self), "operations": operations})
        return plain

    def __str__(self) -> str:
        head = ("layer", "neurons", "threshold", "v_init/theta", "rate", "never fired", "error")
        table = [head] + [
            (
                row.layer,
                "x".join(map(str, row.shape)),
                _range(row.v_threshold),
                _range(row.v_init),
                *(_figures(row) if self.images else "---"),
            )
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in table]
        settings = self._settings()
        title = f"{len(self.rows)} neuron layers; {self._measured_on()}"
        dead = sum(row.dead_channels for row in self.rows)
        channels = "1 channel was" if dead == 1 else f"{dead} channels were"
        notes = [f"{channels} never active in calibration"] if dead else []
        notes += [
            f"kept analog: {kept.operation} at {kept.layer}, {_WHEN[kept.phase]}"
            for kept in self.analog
        ]
        if self.analog and self.operations is not None:
            notes += ["of what was kept analog, operations count products of matrices alone"]
        if self.paths:
            notes += ["", self.paths_in_words()]
        if self.operations is not None:
            notes += ["", str(self.operations)]
        if self.tried:
            notes += ["", self.choice()]
        return "\n".join([title, settings, "", *(line.rstrip() for line in lines), *notes])

    def choice(self) -> str:
        """What was tried, as lines, the combination that was kept first; untried, the settings."""
        if not self.tried:
            return f"nothing else was tried; {self._settings()}"
        images = "calibration images held out from corrections"
        if not self.tried[0].held_out:
            images = "the one calibration image that corrections were fitted to"
        head = f"error of the outputs on {images}, the first was kept"
        return "\n".join([head, *(f"{one.error:.3f}  {one.method}" for one in self.tried)])

    def paths_in_words(self) -> str:
        """How each layer of a fused network runs, as lines."""
        labels = {row.name: row.layer for row in self.rows}
        width = max(map(len, labels.values()))
        return "\n".join(f"{labels[name]:{width}}  {path}" for name, path in self.paths.items())

    def _measured_on(self) -> str:
        if not self.images:
            return "not measured: report(x) measures on images x"
        images = "1 image" if self.images == 1 else f"{self.images} images"
        before = ", before it was fused" if self.before_fusing else ""
        return f"measured on {images} at T={self.T}{before}"

    def _settings(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.settings.items())


def _without_nan(value: Any) -> Any:
    """Plain data with None in place of NaN, for which JSON has no word."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(_without_nan, value))
    return None if isinstance(value, float) and math.isnan(value) else value


def _figures(row: LayerReport) -> tuple[str, ...]:
    return f"{row.firing_rate:.3f}", f"{row.never_fired:.1%}", f"{row.error:.3f}"


def _range(values: tuple[float, float, float]) -> str:
    low, mean, high = values
    return f"{mean:.3g}" if low == high else f"{mean:.3g} [{low:.3g}, {high:.3g}]"


def _spread(values: Tensor) -> tuple[float, float, float]:
    values = values.double()
    return values.min().item(), values.mean().item(), values.max().item()


def layer_report(
    name: str,
    layer: str,
    node: IFNode,
    activation: Tensor,
    monitor: Monitor,
    steps_read: int,
    dead_channels: int,
) -> LayerReport:
    """The row of one layer, from the ANN's activation ``[B, *]`` and what a monitor counted."""
    wanted = activation.double()
    got = monitor.counts[name].double() * node.v_threshold.double() / steps_read
    size = wanted.norm().item()
    difference = (got - wanted).norm().item()
    return LayerReport(
        name=name,
        layer=layer,
        shape=tuple(activation.shape[1:]),
        v_threshold=_spread(node.v_threshold),
        v_init=_spread(node.v_init / node.v_threshold),
        firing_rate=monitor.firing_rates()[name],
        never_fired=monitor.never_fired()[name],
        error=difference / size if size else float(difference > 0),
        dead_channels=dead_channels,
    )


def kept_analog(program: Program) -> tuple[KeptAnalog, ...]:
    """What a program keeps although it has no spiking form."""
    return tuple(
        KeptAnalog(step.analog, step.label, step.phase.value)
        for step in program.steps
        if step.analog
    )


def warn_of_no_integers(paths: Mapping[str, str]) -> None:
    """Warn where no layer of a fused network runs in integers."""
    if all(path.startswith("float") for path in paths.values()):
        warnings.warn(
            "fuse: no layer of this network has a form in integers, so it runs as before; report() "
            "says of each layer why",
            stacklevel=3,
        )


def warn_of_silent_layers(rows: Sequence[LayerReport]) -> None:
    """Warn of every layer that was never active in calibration."""
    for row in rows:
        if row.dead_channels == (row.shape[0] if row.shape else 1):
            warnings.warn(
                f"convert: activation {row.layer!r} was never active in calibration, so its "
                "threshold is a guess; it stays silent unless other images wake it",
                stacklevel=2,
            )
