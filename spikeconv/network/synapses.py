"""Counting what every layer with weights computes: spikes times the weights that each reaches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.calibrate.inputs import Batch
from spikeconv.network import vocabulary
from spikeconv.network.monitor import Monitor, Seen
from spikeconv.network.operations import LayerOperations, Operations
from spikeconv.network.padding import all_ones, present
from spikeconv.network.products import holds_products, macs_within
from spikeconv.network.program import Phase, Program, Step, fill, refs
from spikeconv.network.run_step import Layers, run_step
from spikeconv.network.structure import holds_tensors, map_tensors
from spikeconv.network.wires import Arriving, led, of_current, of_spikes, of_static

_CONVOLUTIONS = (*vocabulary.CONVOLUTIONS, *vocabulary.TRANSPOSED)
_SCALES = ("alpha", "beta")


@torch.no_grad()
def count_operations(
    program: Program, layers: Layers, weights: Mapping[str, Tensor], monitor: Monitor
) -> Operations:
    """The operations of what a monitor has seen, exactly.

    One image runs through the network as an ANN, for the shapes; the spikes that were counted go
    through it with every weight 1, so that what a layer gives is how many weights they reached.

    Args:
        program: the network's.
        layers: its layers and, under the neurons' names, their rectifiers.
        weights: what functions read.
        monitor: of calls of this network.

    Raises:
        TypeError: the monitor is none.
    """
    if not isinstance(monitor, Monitor):
        raise TypeError(
            "SpikingNetwork.operations: monitor must be what monitor() gave, got "
            f"{type(monitor).__name__}"
        )
    counts: dict[str, Counter[str]] = {
        step.name: Counter()
        for step in program.steps
        if _holds_synapses(step, layers) or holds_products(step, layers)
    }
    for seen in monitor.seen.values():
        if seen.example is not None:
            _Count(program, layers, weights, seen, counts).run(seen.example)
    rows = tuple(
        LayerOperations(
            step.label,
            step.phase.value,
            *(counts[step.name][key] for key in ("spikes", "accumulates", "macs", "ann_macs")),
        )
        for step in program.steps
        if step.name in counts
    )
    images = sum(seen.images for seen in monitor.seen.values())
    return Operations(rows, images, sum(chances for _, chances in monitor.totals().values()))


class _Count:
    """One pass through a program, for images of one size."""

    def __init__(
        self,
        program: Program,
        layers: Layers,
        weights: Mapping[str, Tensor],
        seen: Seen,
        counts: Mapping[str, Counter[str]],
    ) -> None:
        self.program = program
        self.layers = layers
        self.weights = weights
        self.seen = seen
        self.counts = counts
        self.steps = max((tally.steps for tally in seen.tallies.values()), default=0)
        self.values: dict[str, Any] = {}
        self.there: dict[str, Any] = {}  # where each value is no zero of a padding
        self.flows: dict[str, Arriving] = {}

    def run(self, example: Batch) -> None:
        """Run an image, for the shapes, and the spikes beside it."""
        self.values = self.program.bind(example)
        for name, value in list(self.values.items()):
            self.there[name] = map_tensors(all_ones, value)
            self.flows[name] = of_static(self.there[name])
        for step in self.program.steps:
            value = self.values[step.name] = self._value(step)
            if step.phase is not Phase.CONSTANT and holds_tensors(value):
                there = present(step, self.layers, self.there, self.values, value)
                self.flows[step.name] = self._flow(step, value, there)
                self.there[step.name] = there
            for name in self.program.last_reads[step.name]:
                self.values.pop(name, None)
                self.flows.pop(name, None)
                self.there.pop(name, None)

    def _value(self, step: Step) -> Any:
        if step.kind == "constant":
            return self.weights[step.target]
        args = fill(step.args, self.values.__getitem__)
        kwargs = fill(step.kwargs, self.values.__getitem__)
        if step.kind == "neuron":
            return self.layers[step.target](args[0])
        return run_step(step, self.layers, args, kwargs)

    def _flow(self, step: Step, value: Any, there: Any) -> Arriving:
        """What arrives behind a step; what its weights do on the way is counted."""
        if step.kind == "neuron":
            sent = self.seen.tallies[step.name].sent if step.name in self.seen.tallies else None
            return of_spikes(torch.zeros_like(value) if sent is None else sent.unsqueeze(0))
        if step.name in self.counts:
            self._count(step)
        if step.phase is Phase.STATIC:
            return of_static(there)
        if step.phase is Phase.READOUT or step.name in self.counts:
            return of_current(there)
        return led(step, self.layers, self.flows, self.values, there)

    def _count(self, step: Step) -> None:
        signal = next(ref.name for ref in refs((step.args, step.kwargs)) if ref.name in self.flows)
        flow, count, seen = self.flows[signal], self.counts[step.name], self.seen
        if holds_products(step, self.layers):
            args, kwargs = (fill(x, self.values.__getitem__) for x in (step.args, step.kwargs))
            dense = macs_within(step, self.layers, args, kwargs)
        else:
            dense = self._reached(step, signal, self.there[signal])
        count["ann_macs"] += seen.images * dense
        if step.phase is not Phase.TEMPORAL:
            count["macs"] += (seen.inputs if step.phase is Phase.STATIC else seen.answers) * dense
            return
        count["spikes"] += int(flow.spikes_alone().sum())
        count["accumulates"] += self._reached(step, signal, flow.spikes_alone())
        count["macs"] += seen.inputs * self._reached(step, signal, flow.static_alone())
        count["macs"] += self.steps * self._reached(step, signal, flow.some_current())

    def _reached(self, step: Step, signal: str, arriving: Tensor) -> int:
        """How many weights are reached, each counted as often as something arrives."""
        if not bool(arriving.any()):
            return 0
        layer = self.layers[step.target] if step.kind == "module" else None
        if isinstance(layer, nn.Linear):
            return layer.out_features * int(arriving.sum())
        if isinstance(layer, _CONVOLUTIONS):
            # All channels of a group reach as many weights, so they can be counted as one.
            total = _one_channel(layer).to(arriving.device)(arriving.sum(1, keepdim=True)).sum()
            return layer.out_channels // layer.groups * int(total)

        # Of addmm, as files of earlier versions hold it: its scales reach no more weights.
        named = {name: given for name, given in step.kwargs.items() if name not in _SCALES}

        def outputs(given: Tensor) -> Tensor:
            def read(name: str) -> Any:
                if name == signal:
                    return given
                return self.there.get(name, map_tensors(all_ones, self.values[name]))

            total: Tensor = run_step(step, {}, fill(step.args, read), fill(named, read)).sum()
            return total

        return int(outputs(arriving) - outputs(torch.zeros_like(arriving)))  # without a bias


def _holds_synapses(step: Step, layers: Layers) -> bool:
    """Whether a step multiplies its signal with weights and sums up."""
    if step.phase is Phase.CONSTANT:
        return False
    if step.kind == "module":
        return isinstance(layers[step.target], (nn.Linear, *_CONVOLUTIONS))
    known = {
        "function": vocabulary.CONTRACTION_FUNCTIONS,
        "method": vocabulary.CONTRACTION_METHODS,
    }
    return step.target in known.get(step.kind, ())


def _one_channel(layer: Any) -> nn.Module:
    """The same convolution from one channel to one, all of its weights 1, in float64."""
    kind = next(kind for kind in _CONVOLUTIONS if isinstance(layer, kind))
    names = ["stride", "padding", "dilation", "padding_mode"]
    names += ["output_padding"] * (kind in vocabulary.TRANSPOSED)
    shape = {name: getattr(layer, name) for name in names}
    # Initial weights would be drawn from the user's random numbers.
    one: nn.Module = nn.utils.skip_init(
        kind, 1, 1, layer.kernel_size, bias=False, dtype=torch.float64, **shape
    )
    nn.init.ones_(one.get_parameter("weight"))
    return one.requires_grad_(False)
