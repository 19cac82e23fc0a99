"""Pass 1: a copy of the user's module as a graph of calls, each with where it stands."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from spikeconv.convert.errors import ConversionError, Problem


class _Tracer(fx.Tracer):
    """torch.fx's tracer; layers of torch.nn stay whole, everything else is traced into."""

    record_stack_traces = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # A subclass that only renames ReLU is one; a subclass with a forward of its own is read.
        if isinstance(m, nn.ReLU) and type(m).forward is nn.ReLU.forward:
            return True
        return super().is_leaf_module(m, module_qualified_name)


def trace(ann: nn.Module) -> fx.GraphModule:
    """The calls of one forward pass of a copy of `ann`, in eval mode and without gradients.

    Raises:
        TypeError: ann is not a module.
        ConversionError: torch.fx cannot trace it.
    """
    if not isinstance(ann, nn.Module):
        raise TypeError(f"convert: ann must be a torch.nn.Module, got {type(ann).__name__}")
    network = copy.deepcopy(ann).eval().requires_grad_(False)
    tracer = _Tracer()
    try:
        graph = tracer.trace(network)
    except (fx.proxy.TraceError, TypeError, AttributeError, RuntimeError) as error:
        reason = (
            f"torch.fx cannot trace this forward ({error}); conversion needs a forward whose "
            "calls do not depend on the values or shapes of tensors"
        )
        raise ConversionError([Problem("", type(ann).__name__, "", reason)]) from error
    traced = fx.GraphModule(tracer.root, graph, type(ann).__name__)
    for node in graph.nodes:
        node.meta["path"] = _path(node)
        node.meta["line"] = _line(node)
    return traced


def _path(node: fx.Node) -> str:
    """Path of the module that is called, or of the one whose forward makes the call."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]) if stack else ""


def _line(node: fx.Node) -> str:
    """The innermost line of the user's code, as file:line."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    torch_folder = torch.__path__[0]
    users = [frame for frame in frames if not frame[0].startswith(torch_folder)]
    return ":".join(users[-1]) if users else ""


def called(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | Callable[..., Any] | str:
    """What a node calls: the module, the function, or the method's name."""
    return modules[str(node.target)] if node.op == "call_module" else node.target


def spelling(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    """The call as a user would write it."""
    target = called(node, modules)
    if isinstance(target, nn.Module):
        return type(target).__name__
    if isinstance(target, str):
        return f"Tensor.{target}" if node.op == "call_method" else target
    module = getattr(target, "__module__", None) or "torch"
    return f"{module.removeprefix('_')}.{getattr(target, '__name__', target)}"


def problem(node: fx.Node, modules: dict[str, nn.Module], reason: str) -> Problem:
    """A problem at a node, with where it stands."""
    return Problem(
        node.meta.get("path", ""), spelling(node, modules), node.meta.get("line", ""), reason
    )
