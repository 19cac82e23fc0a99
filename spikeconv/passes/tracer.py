"""torch.fx's tracer, as conversion needs it: layers stay whole, everything else is traced into."""

from __future__ import annotations

import inspect
import operator
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, fx, nn

from spikeconv.activation import QCFS, Clip
from spikeconv.network.structure import Fields, fields_of, unknown
from spikeconv.network.subclasses import computes_as, is_changed, only_renames
from spikeconv.passes.asked import answered
from spikeconv.passes.errors import ConversionError, Problem, users_line
from spikeconv.passes.sizes import DRAWS, FACTORIES
from spikeconv.passes.spelled_out import COMPOUNDS, expanding_by_stand_ins


class AssignedInPlace(fx.proxy.TraceError):
    """A forward assigns to a part of a tensor."""


class Proxy(fx.Proxy):
    """A stand-in for a tensor, which says so where Python asks it for something else.

    torch.fx's does not, or raises errors that a forward may catch, and writes `h += g` as `h + g`.
    """

    tracer: Tracer
    __array_priority__ = 1000  # as a tensor's: NumPy's numbers leave sums and products to it

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.undecided(AssignedInPlace())

    def __getattr__(self, name: str) -> Any:
        if self.node.op == "placeholder" and not hasattr(Tensor, name):
            raise AttributeError(f"'Tensor' object has no attribute {name!r}")
        return Attribute(self, name)

    def __hash__(self) -> int:
        self.tracer.undecided(_as("a key of a dict, or in a set"))

    def __str__(self) -> str:
        self.tracer.undecided(_as("text"))

    def __format__(self, spec: str) -> str:
        self.tracer.undecided(_as("text"))

    def __float__(self) -> float:
        self.tracer.undecided(_as("a number"))

    def __int__(self) -> int:
        self.tracer.undecided(_as("a number"))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self.tracer.undecided(_as("an array of NumPy's"))

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self

    def __copy__(self) -> Proxy:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.clone()


class Attribute(Proxy, fx.proxy.Attribute):
    """The same for an attribute, or a method that is not called yet."""


def _as(what: str) -> fx.proxy.TraceError:
    return fx.proxy.TraceError(f"it takes a tensor or a size as {what}")


def _assignment(operation: Callable[..., Any]) -> Callable[[Proxy, Any], Any]:
    def assign(self: Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    return assign


for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul"):
    setattr(Proxy, f"__{_name}__", _assignment(getattr(operator, _name)))


class Tracer(fx.Tracer):
    """torch.fx's tracer; layers of torch.nn stay whole, everything else is traced into."""

    record_stack_traces = True

    def __init__(self, inputs: Sequence[str]) -> None:
        super().__init__(autowrap_functions=FACTORIES + DRAWS)
        # Sizes are numbers, for which torch's own functions would not let a stand-in pass.
        self._autowrap_search.append(torch)
        self.inputs = inputs

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        self._thread = threading.get_ident()
        self._undecided: Exception | None = None
        with answered(root), expanding_by_stand_ins():
            graph = super().trace(root, concrete_args)
        if self._undecided is not None:  # caught by the forward, which then went another way
            raise self._undecided
        return graph

    def undecided(self, reason: str | fx.proxy.TraceError) -> NoReturn:
        """End the trace, as a forward goes by what is not known, even if it catches errors."""
        self._undecided = fx.proxy.TraceError(reason) if isinstance(reason, str) else reason
        raise self._undecided

    def to_bool(self, obj: fx.Proxy) -> bool:
        self.undecided("its flow depends on whether a value is true")

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        self.undecided("its flow depends on how many parts a tensor has")

    def _elsewhere(self) -> bool:
        """Whether another thread asks: torch.fx changes torch.nn.Module for all of them."""
        return threading.get_ident() != self._thread

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **named: Any
    ) -> Any:
        calls = kind in ("call_function", "call_method") and target in COMPOUNDS
        if calls and len(args) <= 3 and "out" not in kwargs:  # older forms have more
            return COMPOUNDS[target](*args, **kwargs)
        return super().create_proxy(kind, target, args, kwargs, *more, **named)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if m is self.root or self._elsewhere() or self._is_made_within(m):
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def _is_made_within(self, m: nn.Module) -> bool:
        """Whether forward calls a module that is none of the network's, `nn.ReLU()(x)`.

        Raises:
            ConversionError: and it has weights, which then are none of the network's either.
        """
        try:
            self.path_of_module(m)
        except NameError:
            known = {id(tensor) for tensor in (*self.root.parameters(), *self.root.buffers())}
            if known.issuperset(id(tensor) for tensor in (*m.parameters(), *m.buffers())):
                return True  # without weights, or around layers of the network
            reason = (
                "forward calls this layer, which has weights but is no part of the network; make "
                "it in __init__ and keep it as an attribute, or in an nn.ModuleList"
            )
            stack = [(frame.filename, str(frame.lineno)) for frame in traceback.extract_stack()]
            problem = Problem("", type(m).__name__, users_line(stack), reason)
            raise ConversionError([problem]) from None
        return False

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._elsewhere():
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_instance(self, proxy: fx.Proxy, kinds: Any) -> bool:
        """What isinstance says of the value that a stand-in stands for.

        Raises:
            TraceError: it is not known.
        """
        self.undecided(f"its flow depends on whether a value is of {kinds}")

    def length(self, proxy: fx.Proxy) -> Any:
        """What len gives for the value that a stand-in stands for.

        Raises:
            TraceError: it is not known.
        """
        self.undecided("its flow depends on the length of a tensor")

    def proxy(self, node: fx.Node) -> Proxy:
        return Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if is_changed(m):
            return False  # what was added to a layer from outside is seen only by tracing through
        if super().is_leaf_module(m, module_qualified_name):
            return True
        if computes_as(m, Clip, QCFS):
            return True
        return only_renames(type(m)) and not isinstance(m, nn.Sequential)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """The inputs by their names; every further argument of forward keeps its default."""
        proxies = {name: self.create_proxy("placeholder", name, (), {}) for name in self.inputs}

        def run(root: nn.Module) -> Any:
            output = call(root, root_fn, proxies)  # with its hooks
            check_output(output)
            return output

        return run, [self.root]

    def create_arg(self, a: Any) -> Any:
        """Of a dataclass, torch.fx would record its constructor, which may compute something; and
        NumPy's numbers it does not know."""
        if isinstance(a, np.generic):
            return a.item()
        fields = fields_of(a)
        if fields is None:
            return super().create_arg(a)
        values = {name: self.create_arg(value) for name, value in fields.items()}
        return self.create_node("call_function", Fields(type(a)), (), values)


def check_output(output: Any) -> None:
    """Raise ConversionError where a network returns an object that may hide tensors."""
    kind = unknown(output, fx.Proxy)
    if kind is not None:
        reason = (
            f"it returns a {kind}, in which conversion finds no tensors; return tensors, or "
            "tuples, lists, dicts, named tuples or dataclasses of them"
        )
        raise ConversionError([Problem("", "forward", "", reason)])


def call(
    function: Callable[..., Any], forward: Callable[..., Any], inputs: Mapping[str, Any]
) -> Any:
    """A call with inputs by position as far as they follow one another, the others by name.

    That is how a user calls a network, and what hooks on it expect.

    Args:
        function: what is called.
        forward: of the network's class; its signature, less self, is that of the function.
        inputs: by the names that they have there.
    """
    _, *parameters = inspect.signature(forward).parameters.values()
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    args: list[Any] = []
    named = dict(inputs)
    for parameter in parameters:
        if parameter.kind not in by_position or not named:
            break
        if parameter.name in named:
            args.append(named.pop(parameter.name))
        elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            args.append(parameter.default)
        else:
            break
    return function(*args, **named)
