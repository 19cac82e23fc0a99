"""Pass 3: the normalised graph as a program."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx, nn

from spikeconv.network.program import INPUT, Input, Program, Ref, Step
from spikeconv.passes import kinds
from spikeconv.passes.phases import kind_of, phases_of


def lower(
    graph_module: fx.GraphModule,
) -> tuple[Program, dict[str, nn.Module], dict[str, Tensor]]:
    """The program of a normalised and understood graph, its layers and its constants, by name.

    Layers include the rectifiers, under the names of the neurons that will replace them.
    """
    modules = dict(graph_module.named_modules())
    phases = phases_of(graph_module.graph, modules)
    steps: list[Step] = []
    layers: dict[str, nn.Module] = {}
    constants: dict[str, Tensor] = {}
    labels: dict[str, int] = {}
    names: dict[fx.Node, str] = {}
    inputs: list[Input] = []
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
            if not inputs:
                names[node] = INPUT
            shape, dtype = tuple(node.meta["shape"][1:]), node.meta["dtype"]
            inputs.append(Input(names[node], str(node.target), shape, dtype))
            continue
        if node.op == "output":
            output = args[0]
            continue
        kind, target = kind_of(node, modules)
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
                broadcasts=kinds.is_sum(node) or kinds.is_product(node),
                analog=node.meta.get("analog", ""),
            )
        )
    fixed = bool(graph_module.meta.get("fixed_size"))
    program = Program(tuple(steps), output, tuple(inputs), widest, fixed)
    return program, layers, constants


def _free_name(name: str) -> str:
    """A name that a ModuleDict takes as key: one of its own methods' names it refuses."""
    return f"{name}_" if hasattr(nn.ModuleDict, name) or name == INPUT else name


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
