"""Pass 1: the graph of a network's calls, each with where it stands."""

from __future__ import annotations

import contextlib
import inspect
import operator
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from spikeconv.calibrate.inputs import Arguments, Batch, tensors_of
from spikeconv.passes.checks import MOST_CHECKS, raised_by_users_code
from spikeconv.passes.draws import Draws, OtherGenerators
from spikeconv.passes.errors import ConversionError, Problem, users_line
from spikeconv.passes.frozen import twin
from spikeconv.passes.sizes import takes_shapes_for_tensors
from spikeconv.passes.specialise import VALUES, SpecialisedTracer
from spikeconv.passes.tracer import AssignedInPlace, Tracer, call

_FLOW = (
    "torch.fx cannot trace this forward ({}); conversion needs a forward whose calls depend "
    "neither on the values of tensors nor on how many images there are, and which takes torch.fx's "
    "stand-ins for tensors"
)
_ASSIGNED = (
    "it assigns to a part of a tensor in place, which torch.fx cannot trace; put the result "
    "together out of place: torch.cat of the parts, a product with a mask that is a buffer, or "
    "F.pad for zeros around it"
)
_MANY = (
    "it asks for the values of tensors {} times, and conversion tries out at most {} such "
    "conditions, whether they only raise; leave checks out where self.training is False"
)
_MOST_SAID = 200
_DRAWS = (
    "it draws random numbers that torch.fx does not see, so one call is unlike the next; leave "
    "that out where self.training is False"
)
# torch.fx changes torch.nn.Module while it traces, and changes it back.
_ONE_AT_A_TIME = threading.RLock()
# Traces after a first one in which somebody drew: a thread may draw as often by chance, but not in
# all of them.
_AGAIN = 3


class _Traced(fx.GraphModule):
    """A graph and its layers, run by torch.fx's interpreter.

    The code that would run it is not made: a layer may be called ``global``, which code cannot say.
    """

    def recompile(self) -> None:  # type: ignore[override]
        pass


def arguments(network: nn.Module) -> Arguments:
    """What forward takes: tensors where there is no default, else the first argument.

    Raises:
        ConversionError: it takes nothing.
    """
    try:
        _, *inputs = inspect.signature(type(network).forward).parameters.values()
    except (TypeError, ValueError):  # it is no function, or one without self
        inputs = []
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [p for p in inputs if p.kind not in several]
    required = [p.name for p in named if p.default is p.empty] or [p.name for p in named[:1]]
    if not required:
        reason = (
            "forward takes no input by name; give it an argument for each tensor that it reads, or "
            "convert the network within, if this one only wraps it"
        )
        raise ConversionError([Problem("", "forward", "", reason)])
    return Arguments(tuple(required), tuple(p.name for p in named if p.name not in required))


def trace(network: nn.Module, inputs: Sequence[str], example: Batch) -> fx.GraphModule:
    """The calls of one forward pass on inputs of these names, with the network's own layers.

    Where the forward's flow depends on shapes, those of the example decide. The result's meta says
    ``fixed_size`` where it then holds for images of that size only, ``other_counts``, the numbers
    of images for which the forward may go another way, and ``checks``, where it checks values.

    Raises:
        ConversionError: it cannot be traced.
    """
    examples = dict(zip(inputs, tensors_of(example), strict=True))
    with _ONE_AT_A_TIME:
        _run_once(network, examples)
        before = OtherGenerators()
        graph, tracer, drawn = _traced(network, inputs, examples)
        after = OtherGenerators()
        if not drawn and after != before:
            # Another thread may have drawn; the forward draws the same from the same state, always.
            for _ in range(_AGAIN):
                before.restore()
                _traced(network, inputs, examples)
                drawn = OtherGenerators() == after
                if not drawn:
                    break
        if drawn:
            raise ConversionError([Problem("", "forward", "", _DRAWS)])
    _check_inputs(graph)
    _check_kept(graph, tracer.root)
    for node in graph.nodes:
        # By it, code that is written for the graph would have torch's functions wrapped for good.
        node.meta.pop("is_wrapped", None)
    traced = _Traced(tracer.root, graph, type(network).__name__)
    if isinstance(tracer, SpecialisedTracer):
        traced.meta.update(fixed_size=tracer.fixed_size, other_counts=sorted(tracer.other_counts))
        traced.meta["checks"] = list(dict.fromkeys(tracer.asked))
    for node in graph.nodes:
        node.meta["path"] = _path(node)
        node.meta["line"] = _line(node)
    return traced


def _traced(
    network: nn.Module, inputs: Sequence[str], example: Mapping[str, Tensor]
) -> tuple[fx.Graph, Tracer, bool]:
    """The graph, what has traced it, and whether the forward has had torch draw meanwhile."""
    tracer: Tracer = Tracer(inputs)
    with Draws(lambda: False) as draws:
        try:
            graph = tracer.trace(twin(network))
            if not takes_shapes_for_tensors(graph):
                return graph, tracer, draws.seen
        except ConversionError:
            raise
        except Exception:  # whatever a forward raises
            pass
    return _specialised(network, example)


def _run_once(network: nn.Module, example: Mapping[str, Tensor]) -> None:
    """What a forward keeps outside of the network, such as a grid in a global, is a tensor then."""
    images = {name: tensor.clone() for name, tensor in example.items()}
    with contextlib.suppress(Exception):  # what is wrong with it, the trace or its user sees
        call(twin(network), type(network).forward, images)


def _check_kept(graph: fx.Graph, root: nn.Module) -> None:
    """Raise ConversionError where a forward reads what it has kept itself."""
    for node in graph.nodes:
        if node.op == "get_attr":
            value: Any = root
            for name in str(node.target).split("."):
                value = getattr(value, name, None)
            if isinstance(value, fx.Proxy):
                reason = (
                    f"it reads its attribute {node.target} and changes it, and a spiking network "
                    "keeps nothing from one call to the next; leave that out where self.training "
                    "is False"
                )
                raise ConversionError([Problem(_path(node), "forward", _line(node), reason)])


def _check_inputs(graph: fx.Graph) -> None:
    """Raise ConversionError where an input is read as a dict."""
    for node in graph.nodes:
        if node.target is operator.getitem and isinstance(node.args[1], str):
            source = node.args[0]
            if isinstance(source, fx.Node) and source.op == "placeholder":
                reason = (
                    f"it takes item {node.args[1]!r} of its input {source.target}; inputs are "
                    "tensors: give forward an argument for each, under which it is given here too"
                )
                raise ConversionError([Problem(_path(node), "forward", _line(node), reason)])


def _specialised(
    network: nn.Module, example: Mapping[str, Tensor]
) -> tuple[fx.Graph, SpecialisedTracer, bool]:
    """The same for the shapes of an example of two images.

    Buffers are tensors, of which a forward may do whatever it likes; where that fails, stand-ins,
    as some methods of tensors take no size that is one: `buffer.expand(x.shape[0], -1)`.
    """
    first: Exception | None = None
    for buffers in (False, True):
        tracer = SpecialisedTracer(example, buffers)
        try:
            with Draws(tracer.runs_an_example) as draws:
                graph = tracer.trace(twin(network))
            _only_checks(network, example, buffers, tracer.asked)
            return graph, tracer, draws.seen
        except ConversionError:
            raise
        except Exception as error:  # whatever a forward raises
            first = first or error
    assert first is not None
    said = _in_short(str(first)) or type(first).__name__  # an assertion may say nothing
    reason = _ASSIGNED if isinstance(first, AssignedInPlace) else _FLOW.format(said)
    frames = traceback.extract_tb(first.__traceback__)
    line = users_line([(frame.filename, str(frame.lineno)) for frame in frames])
    raise ConversionError([Problem("", type(network).__name__, line, reason)]) from first


def _in_short(message: str) -> str:
    """The beginning of an error's first line: torch prints whole tensors in some."""
    line = message.strip().partition("\n")[0]
    return line if len(line) <= _MOST_SAID else line[:_MOST_SAID] + " ..."


def _only_checks(
    network: nn.Module, example: Mapping[str, Tensor], buffers: bool, asked: Sequence[str]
) -> None:
    """Make sure that of conditions on values each ends the forward where its answer is another.

    Raises:
        ConversionError: one decides something else.
    """
    if len(asked) > MOST_CHECKS:
        reason = _MANY.format(len(asked), MOST_CHECKS)
        raise ConversionError([Problem("", type(network).__name__, asked[MOST_CHECKS], reason)])
    outer = sys.exc_info()[1]  # which the caller may be handling
    for index, line in enumerate(asked):
        checks = False
        try:
            SpecialisedTracer(example, buffers, turned=index).trace(twin(network))
        except Exception as error:
            checks = raised_by_users_code(error, outer)
        if not checks:
            raise ConversionError([Problem("", type(network).__name__, line, _FLOW.format(VALUES))])


def _path(node: fx.Node) -> str:
    """Path of the module that is called, or of the one whose forward makes the call."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]) if stack else ""


def _line(node: fx.Node) -> str:
    """Where the user's code makes the call, as file:line."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    return users_line(frames)


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
    name = str(getattr(target, "__name__", target))
    if module.startswith("torch._C") or name.startswith("_"):
        for public, function in vars(torch.nn.functional).items():
            if function is target and not public.startswith("_"):
                return f"torch.nn.functional.{public}"
    return f"{module.removeprefix('_')}.{name}"


def problem(node: fx.Node, modules: dict[str, nn.Module], reason: str) -> Problem:
    """A problem at a node, with where it stands."""
    return Problem(
        node.meta.get("path", ""), spelling(node, modules), node.meta.get("line", ""), reason
    )
