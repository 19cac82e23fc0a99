"""A NIR graph of another library as the parts of a spiking network."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from keyword import iskeyword
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeconv.files.malformed import REFUSALS, Malformed, said
from spikeconv.files.shapes import MOST_VALUES
from spikeconv.files.steps import check_shape
from spikeconv.network.layers import Rectifier
from spikeconv.network.network import SpikingNetwork
from spikeconv.network.phases import assign_phases
from spikeconv.network.program import Input, Phase, Program, Ref, Step, refs
from spikeconv.network.report import LayerReport, Report
from spikeconv.network.run_step import run_step
from spikeconv.neuron import IFNode
from spikeconv.nir_io.library import as_float, as_sizes

_TAKEN = nn.ModuleDict()


def foreign_network(graph: Any, nir: Any, T: int) -> SpikingNetwork:
    """The network that the nodes of a graph say, by NIR's semantics.

    Raises:
        Malformed: it has nodes of other kinds, a loop, or shapes that do not fit.
    """
    return _Import(graph, nir).network(T)


class _Import:
    """A program that grows node by node."""

    def __init__(self, graph: Any, nir: Any) -> None:
        self.graph = graph
        self.translators: dict[type, Callable[[str, Any, Ref], Ref]] = {
            nir.IF: self._neurons,
            nir.Conv1d: self._convolution,
            nir.Conv2d: self._convolution,
            nir.Affine: self._linear,
            nir.Linear: self._linear,
            nir.AvgPool2d: self._pool,
            nir.SumPool2d: self._pool,
            nir.Flatten: self._flatten,
            nir.Scale: self._scale,
        }
        self.input, self.output = nir.Input, nir.Output
        self.inputs: list[Input] = []
        self.steps: list[Step] = []
        self.layers: dict[str, nn.Module] = {}
        self.nodes: dict[str, IFNode] = {}
        self.constants: dict[str, Tensor] = {}
        # Of one image, to know every value's shape.
        self.examples: dict[str, Tensor] = {}
        self.labels: dict[str, str] = {}

    def network(self, T: int) -> SpikingNetwork:
        """The network, for T steps."""
        given: dict[str, Ref] = {}
        outputs: dict[str, Ref] = {}
        order = self._order()
        for name, node in self.graph.nodes.items():
            if isinstance(node, self.input):
                with _reading(name, node):
                    given[name] = self._input(name, node)
        for name, before in order:
            node = self.graph.nodes[name]
            if name in given:
                continue
            with _reading(name, node):
                x = self._sum(name, [given[source] for source in before])
                if isinstance(node, self.output):
                    outputs[name] = x
                else:
                    given[name] = self.translators[type(node)](name, node, x)
        if not outputs or not self.nodes:
            missing = "Output" if self.nodes else "IF"
            raise Malformed(f"graph must have an {missing} node, found none")
        named = {name: outputs[name] for name in self.graph.nodes if name in outputs}
        result = named if len(named) > 1 else next(iter(named.values()))
        program = Program(self._phased(), result, tuple(self.inputs), self._widest(), True)
        rows = tuple(self._row(step) for step in program.neurons())
        settings = {"from": "NIR", "v_init": "zero", "fires": ">"}
        network = SpikingNetwork(
            program, self.layers, self.nodes, self.constants, T, Report(rows, T, 0, settings)
        )
        return network.requires_grad_(False)

    def _order(self) -> list[tuple[str, list[str]]]:
        """Nodes in an order in which they can run, each with those that it reads."""
        known = (*self.translators, self.input, self.output)
        strange = [
            f"{name!r} ({type(node).__name__})"
            for name, node in self.graph.nodes.items()
            if type(node) not in known
        ]
        if strange:
            names = ", ".join(kind.__name__ for kind in self.translators)
            raise Malformed(
                f"graph must be of {names}, Input and Output nodes, found {', '.join(strange)}"
            )
        before: dict[str, list[str]] = {name: [] for name in self.graph.nodes}
        for source, target in self.graph.edges:
            if source not in before or target not in before:
                raise Malformed(f"edge {source!r} -> {target!r} is of a node that is not there")
            ends = self.graph.nodes[source], self.graph.nodes[target]
            if isinstance(ends[0], self.output) or isinstance(ends[1], self.input):
                raise Malformed(
                    f"edge {source!r} -> {target!r} leaves an Output or enters an Input"
                )
            before[target].append(source)
        try:
            order = list(TopologicalSorter(before).static_order())
        except CycleError as error:
            loop = " -> ".join(map(repr, error.args[1]))
            raise Malformed(f"graph must have no loops, found {loop}") from error
        return [(name, before[name]) for name in order]

    def _free(self, name: str, own: str = "") -> str:
        """A name for a step, as a program takes it, from a node's."""
        base = re.sub(r"\W+", "_", f"{name}_{own}" if own else name, flags=re.ASCII).strip("_")
        base = base if base[:1].isalpha() else f"node_{base}"
        used = {*self.examples, *self.constants}
        while base in used or hasattr(_TAKEN, base) or iskeyword(base):
            base += "_"
        return base

    def _input(self, name: str, node: Any) -> Ref:
        sizes = np.asarray(dict(node.input_type).get("input"))
        if sizes.ndim != 1:
            raise ValueError(f"its input must be a list of sizes, got {sizes}")
        shape = tuple(int(size) for size in sizes)
        check_shape(shape)
        if math.prod(shape) > MOST_VALUES:
            raise ValueError(f"its shape {list(shape)} fits no memory")
        own = self._free(name)
        self.inputs.append(Input(own, own, shape, torch.float32))
        self.examples[own] = torch.zeros(1, *shape)
        return Ref(own)

    def _add(self, label: str, name: str, kind: str, target: Any, *args: Any) -> Ref:
        """A step; it is run on an example of one image to know its shape."""

        def value(argument: Any) -> Any:
            return self.examples[argument.name] if isinstance(argument, Ref) else argument

        if kind == "neuron":
            example = self.layers[name](value(args[0]))
        elif kind == "constant":
            example = self.constants[name]
        else:
            step = Step(name, kind, target, args, {}, Phase.STATIC, label)
            example = run_step(step, self.layers, [value(argument) for argument in args], {})
        self.examples[name] = example
        shape = tuple(example.shape[1:] if kind != "constant" else example.shape)
        sums = target in (operator.add, operator.mul, operator.truediv)
        self.steps.append(Step(name, kind, target, args, {}, Phase.STATIC, label, shape, sums))
        return Ref(name)

    def _sum(self, label: str, values: list[Ref]) -> Ref:
        """What arrives at a node."""
        if not values:
            raise ValueError("nothing arrives at it")
        total = values[0]
        for other in values[1:]:
            if self.examples[total.name].shape != self.examples[other.name].shape:
                raise ValueError("values of several shapes arrive at it")
            total = self._add(
                label, self._free(label, "sum"), "function", operator.add, total, other
            )
        return total

    def _layer(self, label: str, layer: nn.Module, x: Ref) -> Ref:
        name = self._free(label)
        self.layers[name] = layer.eval()
        return self._add(label, name, "module", name, x)

    def _with_constant(self, label: str, function: Any, x: Ref, value: Any, own: str) -> Ref:
        """An elementwise function of a value and an array."""
        name = self._free(label, own)
        self.constants[name] = as_float(value)
        constant = self._add(label, name, "constant", name)
        shape = self.examples[x.name].shape
        result = self._add(label, self._free(label, f"by_{own}"), "function", function, x, constant)
        if self.examples[result.name].shape != shape:
            raise ValueError(f"its {own} is not of the shape of what arrives, {list(shape[1:])}")
        return result

    def _neurons(self, label: str, node: Any, x: Ref) -> Ref:
        theta, r = as_float(node.v_threshold), as_float(node.r)
        if bool((r != 1).any()):
            x = self._with_constant(label, operator.mul, x, r, "r")
        shape = tuple(self.examples[x.name].shape[1:])
        if tuple(theta.shape) != shape:
            raise ValueError(f"its v_threshold is {list(theta.shape)}, what arrives {list(shape)}")
        name = self._free(label)
        self.nodes[name] = _above(theta, getattr(node, "v_reset", None))
        self.layers[name] = Rectifier()
        spikes = self._add(label, name, "neuron", name, x)
        amplitude = self.nodes[name].v_threshold
        if bool((amplitude == 1).all()):
            return spikes
        # theta / theta is 1, to the bit.
        return self._with_constant(label, operator.truediv, spikes, amplitude, "threshold")

    def _convolution(self, label: str, node: Any, x: Ref) -> Ref:
        weight, bias = as_float(node.weight), node.bias
        kind: Any = nn.Conv1d if weight.dim() == 3 else nn.Conv2d
        sizes = {name: as_sizes(getattr(node, name)) for name in ("stride", "padding", "dilation")}
        groups = int(node.groups)
        channels = weight.shape[1] * groups, weight.shape[0]
        layer = kind(
            *channels, tuple(weight.shape[2:]), groups=groups, bias=bias is not None, **sizes
        )
        return self._layer(label, _filled(layer, weight, bias), x)

    def _linear(self, label: str, node: Any, x: Ref) -> Ref:
        weight, bias = as_float(node.weight), getattr(node, "bias", None)
        if weight.dim() != 2 or self.examples[x.name].dim() != 2:
            raise ValueError("it is not of a vector")
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        return self._layer(label, _filled(layer, weight, bias), x)

    def _pool(self, label: str, node: Any, x: Ref) -> Ref:
        kernel, stride, padding = map(as_sizes, (node.kernel_size, node.stride, node.padding))
        divisor = 1 if type(node).__name__ == "SumPool2d" else None
        return self._layer(
            label, nn.AvgPool2d(kernel, stride, padding, divisor_override=divisor), x
        )

    def _flatten(self, label: str, node: Any, x: Ref) -> Ref:
        start, end = (
            int(dim) + 1 if dim >= 0 else int(dim) for dim in (node.start_dim, node.end_dim)
        )
        return self._layer(label, nn.Flatten(start, end), x)

    def _scale(self, label: str, node: Any, x: Ref) -> Ref:
        return self._with_constant(label, operator.mul, x, node.scale, "scale")

    def _phased(self) -> tuple[Step, ...]:
        reads = {item.name: list[str]() for item in self.inputs}
        reads |= {step.name: [ref.name for ref in refs(step.args)] for step in self.steps}
        constants = {step.name for step in self.steps if step.kind == "constant"}
        phases = assign_phases(reads, self.nodes, constants)
        return tuple(Step(**{**vars(step), "phase": phases[step.name]}) for step in self.steps)

    def _widest(self) -> int:
        return max(example.numel() for example in self.examples.values())

    def _row(self, step: Step) -> LayerReport:
        """Of a population nothing is known but its thresholds."""
        theta = self.nodes[step.name].v_threshold.double()
        spread = (theta.min().item(), theta.mean().item(), theta.max().item())
        nothing = (math.nan, math.nan, math.nan)
        return LayerReport(step.name, step.label, step.shape, spread, (0.0, 0.0, 0.0), *nothing)


@contextmanager
def _reading(name: str, node: Any) -> Iterator[None]:
    """Says of what a node's numbers lead to that it is this node's."""
    try:
        yield
    except REFUSALS as error:
        kind = type(node).__name__
        raise Malformed(f"node {name!r} ({kind}) cannot be read: {said(error)}") from error


def _filled(layer: Any, weight: Tensor, bias: Any) -> nn.Module:
    """The layer with these weights."""
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(as_float(bias))
    made: nn.Module = layer
    return made


def _above(theta: Tensor, v_reset: Any) -> IFNode:
    """Neurons that fire above their threshold, not at it."""
    if not bool(((theta > 0) & theta.isfinite()).all()):
        raise ValueError("its v_threshold must be positive and finite everywhere")
    options: dict[str, Any] = {}
    if v_reset is not None:
        values = as_float(v_reset).unique()
        if len(values) != 1:
            raise ValueError("its v_reset is not one number for all neurons")
        options = {"reset": "hard", "v_reset": float(values[0])}
    return IFNode(theta, 0.0, fires="gt", **options)
