"""Which layer's weights can be refitted to what a population lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from torch import nn

from spikeconv.network.program import Phase, Program, Ref, Step, refs
from spikeconv.network.vocabulary import ADDITIONS

REFITTABLE = (nn.Conv1d, nn.Conv2d, nn.Linear)


def feeding_layers(program: Program, layers: Mapping[str, nn.Module]) -> dict[str, Step]:
    """For every population, the call of the layer that feeds it alone, in units of its current.

    Between the two stand additions only, none of them scaled or spreading the layer's output over
    more neurons, and nothing else reads what the layer and the additions give; the layer is called
    on a signal that has spikes in it. A population without such a layer is left out; of several
    layers the first is taken. A layer that is called twice stands for two: each has its own copy.
    """
    steps = {step.name: step for step in program.steps}
    readers = Counter(
        ref.name for step in program.steps for ref in refs((step.args, step.kwargs))
    ) + Counter(ref.name for ref in refs(program.output))

    def layer_of(step: Step, shape: tuple[int, ...]) -> Step | None:
        if readers[step.name] != 1 or step.phase is not Phase.TEMPORAL or step.shape != shape:
            return None
        if step.kind == "module":
            return step if _fits(step, layers) else None
        if step.target in ADDITIONS and not step.kwargs and len(step.args) == 2:
            operands = (steps[ref.name] for ref in refs(step.args) if ref.name in steps)
            found = (layer_of(operand, shape) for operand in operands)
            return next((layer for layer in found if layer is not None), None)
        return None

    feeding = {}
    for neuron in program.neurons():
        source = steps.get(neuron.args[0].name)
        layer = None if source is None else layer_of(source, neuron.shape)
        if layer is not None:
            feeding[neuron.name] = layer
    return feeding


def head(program: Program, layers: Mapping[str, nn.Module]) -> Step | None:
    """The call of the layer whose output is the network's, behind the last neuron."""
    step = program.steps[-1]
    alone = program.output == Ref(step.name) and step.phase is Phase.READOUT
    return step if alone and _fits(step, layers) else None


def _fits(step: Step, layers: Mapping[str, nn.Module]) -> bool:
    """Whether a call is of a layer whose weights can be changed, on a value given by position."""
    given = bool(step.args) and isinstance(step.args[0], Ref)
    return given and step.kind == "module" and type(layers[step.target]) in REFITTABLE
