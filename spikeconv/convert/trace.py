"""Pass 1: a copy of the user's module, and the graph of its calls, each with where it stands."""

from __future__ import annotations

import copy
import inspect
import operator
import os
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from spikeconv.activation import QCFS, Clip
from spikeconv.calibrate.inputs import Arguments
from spikeconv.convert.errors import ConversionError, Problem

# What a subclass may define and still compute what its base does.
_RENAMING = {"__init__", "__repr__", "extra_repr", "__doc__", "__module__", "__qualname__"}
_RENAMING |= {"__annotations__", "__annotate_func__", "__firstlineno__", "__static_attributes__"}
# What calls on torch.fx's stand-ins for tensors have been seen to raise.
_FAILURES = (
    fx.proxy.TraceError,
    *(TypeError, AttributeError, NameError, RuntimeError, ValueError, LookupError),
)
_LIBRARIES = (torch.__path__[0] + os.sep, os.path.dirname(__file__) + os.sep)


class _Proxy(fx.Proxy):
    """A stand-in for a tensor that knows `h += g` as writing in place; torch.fx's does not."""


def _assignment(operation: Callable[..., Any]) -> Callable[[_Proxy, Any], Any]:
    def assign(self: _Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    return assign


for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul"):
    setattr(_Proxy, f"__{_name}__", _assignment(getattr(operator, _name)))


class _Tracer(fx.Tracer):
    """torch.fx's tracer; layers of torch.nn stay whole, everything else is traced into."""

    record_stack_traces = True

    def __init__(self, inputs: Sequence[str]) -> None:
        super().__init__()
        self.inputs = inputs

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m):
            return False  # what was added to a layer from outside is seen only by tracing through
        if super().is_leaf_module(m, module_qualified_name):
            return True
        if computes_as(m, Clip, QCFS):
            return True
        return _only_renames(type(m)) and not isinstance(m, nn.Sequential)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """The inputs by their names; every further argument of forward keeps its default."""
        proxies = {name: self.create_proxy("placeholder", name, (), {}) for name in self.inputs}
        return (lambda root: call(partial(root_fn, root), proxies)), [self.root]


def _only_renames(kind: type[nn.Module]) -> bool:
    """Whether a class is a layer of torch.nn that was given another name or other defaults."""
    own = [base for base in kind.__mro__ if not base.__module__.startswith(("torch.", "builtins"))]
    return bool(own) and all(set(vars(base)) <= _RENAMING for base in own)


def computes_as(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a layer computes what one of these does: a subclass with its own forward may not."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in kinds)


def frozen(ann: nn.Module) -> nn.Module:
    """A copy in eval mode and without gradients; normalised weights become plain ones.

    Raises:
        TypeError: ann is not a module.
    """
    if not isinstance(ann, nn.Module):
        raise TypeError(f"convert: ann must be a torch.nn.Module, got {type(ann).__name__}")
    # What a forward has kept of its last run cannot be copied while it holds a gradient's history.
    kept = {
        id(value): value.detach().clone()
        for module in ann.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    network = copy.deepcopy(ann, kept).eval()
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            _own_class(module)
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name)
    return network.requires_grad_(False)


def _own_class(module: nn.Module) -> None:
    """Give a copied module a class of its own: parametrizations are taken off the class, too."""
    kind = type(module)
    body = {name: v for name, v in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(kind.__name__, kind.__bases__, body)


def arguments(network: nn.Module) -> Arguments:
    """What forward takes: tensors where there is no default, else the first argument.

    Raises:
        ConversionError: it takes nothing.
    """
    _, *inputs = inspect.signature(type(network).forward).parameters.values()
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [p for p in inputs if p.kind not in several]
    required = [p.name for p in named if p.default is p.empty] or [p.name for p in named[:1]]
    if not required:
        reason = "forward takes no input by name; give it an argument for each tensor that it reads"
        raise ConversionError([Problem("", "forward", "", reason)])
    return Arguments(tuple(required), tuple(p.name for p in named if p.name not in required))


def call(function: Callable[..., Any], inputs: Mapping[str, Any]) -> Any:
    """A call with arguments by their names, though some may be taken by position only."""
    kinds = {name: p.kind for name, p in inspect.signature(function).parameters.items()}
    first = [n for n in inputs if kinds.get(n) is inspect.Parameter.POSITIONAL_ONLY]
    others = {name: value for name, value in inputs.items() if name not in first}
    return function(*(inputs[name] for name in first), **others)


def trace(network: nn.Module, inputs: Sequence[str]) -> fx.GraphModule:
    """The calls of one forward pass on inputs of these names, with the network's own layers.

    Raises:
        ConversionError: torch.fx cannot trace it.
    """
    tracer = _Tracer(inputs)
    try:
        graph = tracer.trace(network)
    except _FAILURES as error:
        reason = (
            f"torch.fx cannot trace this forward ({error}); conversion needs a forward whose "
            "calls do not depend on the values or shapes of tensors"
        )
        frames = traceback.extract_tb(error.__traceback__)
        line = _users_line([(frame.filename, str(frame.lineno)) for frame in frames])
        raise ConversionError([Problem("", type(network).__name__, line, reason)]) from error
    traced = fx.GraphModule(tracer.root, graph, type(network).__name__)
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
    """Where the user's code makes the call, as file:line."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    return _users_line(frames)


def _users_line(frames: Sequence[tuple[str, str]]) -> str:
    """Of a call stack, the innermost line that is neither torch's nor this package's."""
    users = [frame for frame in frames if not frame[0].startswith(_LIBRARIES)]
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
    if target is getattr:
        return f"Tensor.{node.args[1]}"
    module = getattr(target, "__module__", None) or "torch"
    return f"{module.removeprefix('_')}.{getattr(target, '__name__', target)}"


def problem(node: fx.Node, modules: dict[str, nn.Module], reason: str) -> Problem:
    """A problem at a node, with where it stands."""
    return Problem(
        node.meta.get("path", ""), spelling(node, modules), node.meta.get("line", ""), reason
    )
