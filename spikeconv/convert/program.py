"""Pass 3: the normalised graph as a program of four phases, plain data that a network runs.

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
from torch import Tensor, fx, nn

from spikeconv.convert import vocabulary
from spikeconv.convert.layers import Rectifier

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
    the same at every time-step.
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


@dataclass
class Program:
    """The steps in order, the output's structure of `Ref`s, and what crosses into the readout.

    Attributes:
        steps: all steps, in an order in which every value is ready when it is read.
        output: nested tuples, lists and dicts of `Ref`s.
        input_shape: shape of one input, without the batch, as calibration had it.
        widest: values in the largest tensor between two steps, for one such input.
        boundary: names of the temporal values that the readout reads as means over time.
        inner: names of the temporal values that other temporal steps read.
        last_reads: for each step, the values that neither a later one nor the output reads.
        last_temporal_reads: for each temporal step, the temporal values that no later one reads.
    """

    steps: tuple[Step, ...]
    output: Any
    input_shape: tuple[int, ...]
    widest: int
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


def map_tensors(function: Callable[..., Tensor], *outputs: Any) -> Any:
    """Outputs of one structure, joined tensor by tensor."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return function(*outputs)
    if isinstance(first, dict):
        return {key: map_tensors(function, *(o[key] for o in outputs)) for key in first}
    if isinstance(first, tuple | list):
        items = [map_tensors(function, *group) for group in zip(*outputs, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    return first


def lower(
    graph_module: fx.GraphModule,
) -> tuple[Program, dict[str, nn.Module], dict[str, Tensor]]:
    """The program of a normalised and understood graph, its layers and its constants, by name.

    Layers include the rectifiers, under the names of the neurons that will replace them.
    """
    modules = dict(graph_module.named_modules())
    phases = _phases(graph_module.graph, modules)
    steps: list[Step] = []
    layers: dict[str, nn.Module] = {}
    constants: dict[str, Tensor] = {}
    labels: dict[str, int] = {}
    names: dict[fx.Node, str] = {}
    input_shape: tuple[int, ...] = ()
    output: Any = None
    shapes = [node.meta["shape"] for node in graph_module.graph.nodes if "shape" in node.meta]
    widest = max(math.prod(shape[1:]) for shape in shapes)

    def reference(node: fx.Node) -> Any:
        return Ref(names[node])

    for node in graph_module.graph.nodes:
        args = _plain(fx.node.map_arg(node.args, reference))
        kwargs = _plain(fx.node.map_arg(node.kwargs, reference))
        names[node] = _free_name(node.name)
        if node.op == "placeholder":
            names[node] = INPUT
            input_shape = node.meta["shape"][1:]
            continue
        if node.op == "output":
            output = args[0]
            continue
        kind, target = _kind(node, modules)
        if node.op == "call_module":
            target = names[node]
            layers[target] = modules[str(node.target)]
        elif node.op == "get_attr":
            target = names[node]
            constants[target] = _attribute(graph_module, str(node.target)).detach()
        steps.append(
            Step(
                name=names[node],
                kind=kind,
                target=target,
                args=args,
                kwargs=kwargs,
                phase=phases[node],
                label=_label(node, modules, labels),
                shape=tuple(node.meta.get("shape", (0,))[1:]),
                broadcasts=vocabulary.is_sum(node) or vocabulary.is_product(node),
            )
        )
    return Program(tuple(steps), output, input_shape, widest), layers, constants


def _free_name(name: str) -> str:
    """A name that a ModuleDict takes as key: one of its own methods' names it refuses."""
    return f"{name}_" if hasattr(nn.ModuleDict, name) or name == INPUT else name


def _kind(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[str, Any]:
    if node.op == "call_module" and isinstance(modules[str(node.target)], Rectifier):
        return "neuron", node.target
    if vocabulary.is_max_pool(node, modules):
        return "max_pool", node.target
    plain = {"call_module": "module", "call_function": "function", "call_method": "method"}
    return plain.get(node.op, "constant"), node.target


def _phases(graph: fx.Graph, modules: dict[str, nn.Module]) -> dict[fx.Node, Phase]:
    """A phase per node: temporal from the first neuron on, readout where no neuron follows."""
    is_neuron = {node: _kind(node, modules)[0] == "neuron" for node in graph.nodes}
    follows_neuron: dict[fx.Node, bool] = {}
    for node in graph.nodes:
        follows_neuron[node] = is_neuron[node] or any(
            follows_neuron[source] for source in node.all_input_nodes
        )
    feeds_neuron: dict[fx.Node, bool] = {}
    for node in reversed(graph.nodes):
        feeds_neuron[node] = any(is_neuron[user] or feeds_neuron[user] for user in node.users)

    def phase(node: fx.Node) -> Phase:
        if not follows_neuron[node]:
            return Phase.CONSTANT if node.meta.get("constant") else Phase.STATIC
        return Phase.TEMPORAL if is_neuron[node] or feeds_neuron[node] else Phase.READOUT

    return {node: phase(node) for node in graph.nodes}


def _label(node: fx.Node, modules: dict[str, nn.Module], used: dict[str, int]) -> str:
    """Where a reader of the network finds the call; call sites of one module are numbered."""
    path = node.meta.get("path", "")
    if not path or node.op != "call_module":
        path = f"{path}.{node.name}" if path else node.name
    used[path] = used.get(path, 0) + 1
    return path if used[path] == 1 else f"{path} ({used[path]})"


def _plain(value: Any) -> Any:
    """torch.fx's immutable containers as plain ones, which can be copied and pickled."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(_plain, value))
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _attribute(root: nn.Module, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    value = getattr(root.get_submodule(owner), name)
    return value if isinstance(value, Tensor) else torch.as_tensor(value)
