"""A spiking network as a NIR graph that says what it is, and all that NIR itself cannot say."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeconv.files.describe import describe
from spikeconv.files.file import dumped
from spikeconv.files.neurons import describe_neurons
from spikeconv.files.tensors import Collected, is_reference
from spikeconv.network.network import SpikingNetwork
from spikeconv.network.program import Phase, Ref, Step, fill, refs
from spikeconv.network.run_step import run_step
from spikeconv.nir_io.graph import Graph, Inexpressible, Value
from spikeconv.nir_io.library import as_array, import_nir
from spikeconv.nir_io.translate import translate

METADATA = "spikeconv"

WARNING = (
    "Neurons of spikeconv fire where the potential is at or above the threshold, are reset by "
    "subtraction, start at v_init and may have biases; NIR's IF fires above the threshold, is "
    "reset as the version of nir says, starts at 0 and has no bias. What is more than NIR's stands "
    "in the metadata, which spikeconv.from_nir reads; other importers that leave it out get other "
    "spikes."
)
_FIRES = {"ge": ">=", "gt": ">"}


def to_nir(network: SpikingNetwork) -> Any:
    """Write a spiking network as a graph of NIR, the Neuromorphic Intermediate Representation.

    Convolutions, linear layers, average pools, flattening, additions, factors and batch norms
    become NIR's nodes; zeros around a value, slices and concatenation become convolutions with
    weights 0 and 1; every population becomes an ``IF`` node, whose metadata says how it differs
    from NIR's, with a ``Scale`` node behind it that makes a spike worth its threshold. A step of
    NIR's time is 1. The graph's metadata holds what `from_nir` needs to give the same network
    again, bit for bit: its timing, its report, and everything about its neurons.

    Versions of nir that check types as they read a file take groups and oblong kernels for
    mistakes; ``nir.read(path, type_check=False)`` reads them. ::

        nir.write("snn.nir", spikeconv.to_nir(snn))
        again = spikeconv.from_nir(nir.read("snn.nir"))

    Args:
        network: with any number of inputs and outputs.

    Returns:
        A ``nir.NIRGraph``, for ``nir.write(path, graph)``.

    Raises:
        ValueError: naming every step that NIR has no node for; or the network is in bfloat16,
            which numpy has not.
        TypeError: parts of it have no form in a file, as in `SpikingNetwork.save`.
        ImportError: nir is not installed.

    Warns:
        UserWarning: other importers read NIR's neurons, not these.

    Source: Pedersen et al., "Neuromorphic intermediate representation: A unified instruction set
    for interoperable brain-inspired computing", Nature Communications 2024.
    """
    nir = import_nir("to_nir")
    if not isinstance(network, SpikingNetwork):
        kind = type(network).__name__
        raise TypeError(f"to_nir: network must be a SpikingNetwork, got {kind}")
    warnings.warn(f"to_nir: {WARNING}", stacklevel=2)
    return graph_of(network, nir)


def graph_of(network: SpikingNetwork, nir: Any) -> Any:
    """`to_nir`, without its warning."""
    description, tensors = describe(network.parts("to_nir"), "to_nir")
    low = sorted(name for name, value in tensors.items() if value.dtype == torch.bfloat16)
    if low:
        raise ValueError(
            f"to_nir: the network must be in a dtype that numpy has, got bfloat16 in {low[0]}; "
            "give a copy of it in another one, as of copy.deepcopy(snn).float()"
        )
    exported = _Export(network, nir)
    exported.run()
    held = {
        description["layers"][layer]["tensors"][tensor]["tensor"]: list(place)
        for (layer, tensor), place in exported.held.items()
        if "same" not in description["layers"][layer]
    }
    metadata = {
        "description": dumped(description, tensors),
        "held": json.dumps(held),
        "tensors": {name: as_array(t) for name, t in tensors.items() if name not in held},
        "semantics": _semantics(network),
        "warning": WARNING,
    }
    return nir.NIRGraph(nodes=exported.nodes, edges=exported.edges, metadata={METADATA: metadata})


def _semantics(network: SpikingNetwork) -> dict[str, Any]:
    """What a reader of the graph should know, as plain data."""
    return {
        "neuron": "v += current + bias; spike where v >= v_threshold; v -= v_threshold * spike",
        "unless": "an IF node's own metadata says otherwise: fires, reset, signed",
        "time_step": 1.0,
        "input": "the same current at every step",
        "output": "the mean over the steps that are left after those before the readout",
        "T": network.T,
        "steps_before_readout": network.timing.before,
        "srp": network.timing.srp,
        "cos": network.timing.cos,
        "delay": network.timing.delay,
    }


class _Export(Graph):
    """The graph of one network."""

    def __init__(self, network: SpikingNetwork, nir: Any) -> None:
        super().__init__(nir, self._constant)
        self.network = network
        self._constants: dict[str, Any] = {}

    def run(self) -> None:
        """Add nodes for everything that the outputs depend on.

        Raises:
            ValueError: with all steps among it that NIR has no node for.
        """
        program, nir = self.network.program, self.nir
        for item in program.inputs:
            node = nir.Input(input_type={"input": np.array(item.shape, dtype=np.int64)})
            self.values[item.name] = self.add(item.name, node, None, item.shape)
        for step in program.steps:
            if step.phase is Phase.CONSTANT:
                self._constants[step.name] = self._value(step)
            else:
                self.values[step.name] = self._translated(step)
        wanted = [self.values.get(ref.name) for ref in refs(program.output)]
        found = [value for value in wanted if value is not None]
        problems = dict.fromkeys(problem for value in found for problem in value.problems)
        if problems:
            steps = "1 step" if len(problems) == 1 else f"{len(problems)} steps"
            told = "".join(f"\n- {problem}" for problem in problems)
            raise ValueError(f"to_nir: NIR cannot say {steps} of the network:{told}")
        for value in found:
            node = nir.Output(output_type={"output": np.array(value.shape, dtype=np.int64)})
            self.add("output", node, value, value.shape)

    def _value(self, step: Step) -> Any:
        """What a step of the constant phase gives."""
        if step.kind == "constant":
            return self.network.weights()[step.target]
        args, kwargs = fill((step.args, step.kwargs), self._constants.__getitem__)
        return run_step(step, self.network.layers, args, kwargs)

    def _constant(self, argument: Any) -> Tensor | None:
        if isinstance(argument, Ref):
            value = self._constants.get(argument.name)
            return value if isinstance(value, Tensor) else None
        if isinstance(argument, int | float) and not isinstance(argument, bool):
            return torch.tensor(float(argument))
        return None

    def _translated(self, step: Step) -> Value:
        """The value of a step; with its problem, and those before it, where NIR cannot say it."""
        try:
            if step.kind == "neuron":
                return self._population(step)
            return translate(self, step, self.network.layers)
        except Inexpressible as error:
            read = (self.values.get(ref.name) for ref in refs((step.args, step.kwargs)))
            before = [problem for value in read if value is not None for problem in value.problems]
            label = f" ({step.label})" if step.label != step.name else ""
            own = f"step {step.name}{label}: {error}"
            return Value((), step.shape, (*dict.fromkeys(before), own))

    def _population(self, step: Step) -> Value:
        """An IF node with what NIR does not know of it, and the worth of its spikes."""
        neurons = self.network.populations()[step.name]
        x = self.read(step.args[0])
        theta = neurons.v_threshold.expand(step.shape).contiguous()
        node = self.nir.IF(r=as_array(torch.ones_like(theta)), v_threshold=as_array(theta))
        node.metadata = _about(neurons)
        spikes = self.add(step.name, node, x, step.shape)
        return self.scaled(f"{step.name}_amplitude", spikes, theta)


def _about(neurons: Any) -> Mapping[str, Any]:
    """What a population has that NIR's has not, as NIR's metadata takes it."""
    collected = Collected()
    description = describe_neurons(neurons, "", collected)
    known: dict[str, Any] = {}
    for name, value in description.items():
        if is_reference(value):
            known[name] = as_array(collected.tensors[value["tensor"]])
        elif isinstance(value, bool | int | float | str):
            known[name] = value
    for name in ("v_threshold", "backend"):
        known.pop(name, None)
    hard = not {"reset", "v_reset"}.isdisjoint(description)
    return {
        **known,
        "reset": "to v_reset" if hard else "subtraction",
        "fires": _FIRES[description.get("fires", "ge")],
        "signed": int(neurons.signed),
    }
