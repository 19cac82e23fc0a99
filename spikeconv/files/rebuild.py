"""A spiking network from its description and tensors, nothing of which is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from spikeconv.files.describe import MOST_STEPS
from spikeconv.files.malformed import Malformed
from spikeconv.files.modules import rebuild_module
from spikeconv.files.neurons import rebuild_neurons
from spikeconv.files.programs import rebuild_program
from spikeconv.files.records import decode_record
from spikeconv.files.shapes import check_shapes
from spikeconv.files.steps import check_key
from spikeconv.files.tensors import Loaded
from spikeconv.files.values import short
from spikeconv.fuse.form import PRECISIONS
from spikeconv.network.parts import Parts
from spikeconv.network.program import Program
from spikeconv.network.report import Report
from spikeconv.network.timing import Timing
from spikeconv.neuron import IFNode

_FIELDS = {"kind", "T", "timing", "program", "steps", "layers", "originals", "neurons"}
_FIELDS |= {"constants", "report", "precision"}


def rebuild(description: Any, tensors: Mapping[str, Tensor]) -> Parts:
    """The parts of the network that `describe` has described. Nothing of it is run.

    Args:
        description: as `describe` gives it.
        tensors: by name.

    Raises:
        Malformed: it describes none.
    """
    if not isinstance(description, dict) or set(description) != _FIELDS:
        raise Malformed(f"a network has {', '.join(sorted(_FIELDS))}, found {short(description)}")
    loaded = Loaded(tensors)
    layers = _layers(description["layers"], loaded)
    originals = {
        name: rebuild_module(item, loaded)
        for name, item in _named(description["originals"], "layers").items()
    }
    if not originals.keys() <= layers.keys():
        raise Malformed("a layer was refitted that is not there")
    constants = {
        name: loaded.get(item) for name, item in _named(description["constants"], "weights").items()
    }
    described = _named(description["neurons"], "neurons")
    program = rebuild_program(
        description["program"], description["steps"], layers, described, constants
    )
    check_shapes(program, layers)
    neurons = _neurons(described, program, loaded)
    loaded.check_all_asked()
    kind, T = description["kind"], description["T"]
    if not isinstance(kind, str) or type(T) is not int or not 1 <= T <= MOST_STEPS:
        raise Malformed(f"{short(kind)} in {short(T)} steps is no spiking network")
    timing = decode_record(Timing, description["timing"])
    if max(timing.settings().values(), default=0) > MOST_STEPS:
        raise Malformed(f"{timing} is no timing")
    precision = description["precision"]
    if precision not in (None, *PRECISIONS):
        raise Malformed(f"{short(precision)} is no precision of integers")
    report = decode_record(Report, description["report"])
    if {row.name for row in report.rows} not in (set(), neurons.keys()):
        raise Malformed("the report is one of other neurons")
    return Parts(kind, program, layers, originals, neurons, constants, T, timing, report, precision)


def _named(content: Any, what: str) -> dict[str, Any]:
    """A part of the description that is a dict by names of steps."""
    if not isinstance(content, dict):
        raise Malformed(f"{short(content)} are no {what}")
    return {check_key(name): item for name, item in content.items()}


def _layers(content: Any, tensors: Loaded) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for name, item in _named(content, "layers").items():
        if not isinstance(item, dict) or set(item) != {"same"}:
            layers[name] = rebuild_module(item, tensors)
        elif isinstance(item["same"], str) and item["same"] in layers:
            layers[name] = layers[item["same"]]
        else:
            raise Malformed(f"layer {name} is that of {short(item['same'])}, which is not there")
    return layers


def _neurons(content: dict[str, Any], program: Program, tensors: Loaded) -> dict[str, IFNode]:
    shapes = {step.name: step.shape for step in program.neurons()}
    if content.keys() != shapes.keys():
        raise Malformed("there are neurons that no step runs")
    return {name: rebuild_neurons(item, shapes[name], tensors) for name, item in content.items()}
