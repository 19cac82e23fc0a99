"""A trace for the shapes of an example, for forwards whose flow depends on shapes.

Two batches, of two images and of three, run alongside the trace. A number that is the same for both
may decide which way the forward goes, and so may the value of a parameter; a number of images may
not, and the values of what depends on an image never do, unless all that they decide is whether the
forward raises: with the other answer it does. Whatever decides nothing stays a call in the graph,
so the graph takes any number of images. What sizes of the images have decided is asked again in
every call, so it takes images of all sizes by which the forward goes the same way.
"""

from __future__ import annotations

import math
import operator
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from spikeconv.network.layers import same_decision
from spikeconv.network.structure import holds_tensors
from spikeconv.passes.decisions import leave_out_costly_checks
from spikeconv.passes.errors import users_line
from spikeconv.passes.other_counts import other_count
from spikeconv.passes.sizes import KIND, SIZES
from spikeconv.passes.tracer import Proxy, Tracer
from spikeconv.passes.value_sizes import called_name, is_drawn, is_sized_by_values

VALUES = "its flow depends on the values of tensors"
_BATCH = "its flow depends on the number of images"


class SpecialisedProxy(Proxy):
    """A stand-in that knows the values of the two examples, and so can answer for their shapes."""

    tracer: SpecialisedTracer

    def __getattr__(self, name: str) -> Any:
        value = self.tracer.values[self.node][0]
        if callable(getattr(value, name)):
            return super().__getattr__(name)
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def __iter__(self) -> Iterator[Any]:
        return iter([operator.getitem(self, index) for index in range(len(self))])

    def __len__(self) -> int:
        return self.tracer.decided_length(self)

    def __bool__(self) -> bool:
        """Of a number, decided as a call of its own: two images and three are both not none."""
        asked: fx.Proxy = self
        if isinstance(self.tracer.values[self.node][0], int | float):
            asked = self.tracer.create_proxy("call_function", operator.truth, (self,), {})
        return self.tracer.truth(asked)

    def __hash__(self) -> int:
        """Of a number or a kind, as a key of a dict or in a set; a tensor is itself alone."""
        if isinstance(self.tracer.values[self.node][0], Tensor):
            return id(self)
        return hash(self.tracer.decided(self))

    def __str__(self) -> str:
        return format(self, "")

    def __format__(self, spec: str) -> str:
        """Of a number as it is for both examples, which decides what is looked up by it."""
        value, other = self.tracer.values[self.node]
        if isinstance(value, Tensor) and value.numel() == 1:
            return format(value.item(), spec)
        if not isinstance(value, int | float):
            return format(str(value), spec)
        by_values = "value" in self.tracer.reads[self.node]
        return format(value if by_values or value != other else self.tracer.decided(self), spec)

    def __index__(self) -> int:
        return operator.index(self.tracer.decided(self))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """Of a size, whose product NumPy may be asked for."""
        return np.asarray(self.tracer.decided(self), *args, **kwargs)

    def __contains__(self, item: Any) -> bool:
        return any(bool(element == item) for element in self)


def _converts(function: Callable[..., Any]) -> Callable[..., Any]:
    def convert(self: SpecialisedProxy, *args: Any) -> Any:
        return function(self.tracer.decided(self), *args)

    return convert


_CONVERSIONS: tuple[tuple[str, Callable[..., Any]], ...] = (
    *(("int", int), ("float", float), ("round", round)),
    *(("floor", math.floor), ("ceil", math.ceil), ("trunc", math.trunc)),
)
for _name, _function in _CONVERSIONS:
    setattr(SpecialisedProxy, f"__{_name}__", _converts(_function))


class SpecialisedTracer(Tracer):
    """Traces with examples alongside.

    Args:
        example: two images, as each input by its name.
        buffers: stand-ins for buffers, too, not only for parameters.
        turned: the condition on values, counted from 0, that is given the other answer.

    Attributes:
        fixed_size: the size of the images decided something.
        other_counts: numbers of images for which the forward may go another way: a single one, and
            for every number that decided something one for which it is another.
        asked: where it asks whether a condition on values is true, ``file:line``.
    """

    def __init__(
        self, example: Mapping[str, Tensor], buffers: bool = False, turned: int | None = None
    ) -> None:
        super().__init__(list(example))
        self.turned = turned
        self.proxy_buffer_attributes = buffers
        more = {name: torch.cat([x, x[:1]]) for name, x in example.items()}
        self.examples = (example, more)
        self.values: dict[fx.Node, tuple[Any, Any]] = {}
        self.reads: dict[fx.Node, frozenset[str]] = {}
        self.constants: set[fx.Node] = set()
        self.fixed_size = False
        self.held: set[fx.Node] = set()
        self.other_counts: set[int] = set()
        self.asked: list[str] = []
        self._running = False

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        graph = super().trace(root, concrete_args)
        values = {node: first for node, (first, _) in self.values.items()}
        self.fixed_size |= leave_out_costly_checks(graph, values)
        return graph

    def proxy(self, node: fx.Node) -> SpecialisedProxy:
        return SpecialisedProxy(node, self)

    def is_instance(self, proxy: fx.Proxy, kinds: Any) -> bool:
        return isinstance(self.values[proxy.node][0], kinds)

    def create_node(self, kind: str, *args: Any, **kwargs: Any) -> fx.Node:
        node: fx.Node = super().create_node(kind, *args, **kwargs)
        if kind != "output":
            self._running = True
            try:
                self.values[node] = self._value(node, 0), self._value(node, 1)
            finally:
                self._running = False
            constant = self.constants.issuperset(node.all_input_nodes)
            if kind != "placeholder" and constant and not is_drawn(node):
                self.constants.add(node)
            self.reads[node] = self._reads(node)
        return node

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Of a layer that computes an example's value, no call is recorded."""
        return (
            forward(*args, **kwargs)
            if self._running
            else super().call_module(m, forward, args, kwargs)
        )

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Nor does it get stand-ins for its weights."""
        if self._running:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def runs_an_example(self) -> bool:
        """Whether what runs now are the examples' values, and no forward."""
        return self._running

    def _value(self, node: fx.Node, which: int) -> Any:
        """A node's value for one of the examples."""
        if node.op == "placeholder":
            return self.examples[which][str(node.target)].clone()
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.root)
        args = fx.node.map_arg(node.args, lambda n: self.values[n][which])
        kwargs = fx.node.map_arg(node.kwargs, lambda n: self.values[n][which])
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        target: Any = node.target
        function = self.root.get_submodule(target) if node.op == "call_module" else target
        return function(*args, **kwargs)

    def _reads(self, node: fx.Node) -> frozenset[str]:
        """What a number, or a tensor's shape, was taken from: ``value``, ``size`` or ``batch``."""
        if node in self.constants:
            return frozenset()
        first, second = self.values[node]
        inputs = node.all_input_nodes
        name = called_name(node)
        if holds_tensors(first):
            by_value = any("value" in self.reads[n] for n in inputs)
            by_value = by_value or is_sized_by_values(node, self.values, self.constants)
            return frozenset({"value"} if by_value else ())
        if not any(holds_tensors(self.values[n][0]) for n in inputs):
            reads = frozenset[str]().union(*(self.reads[n] for n in inputs))
            if node.target is operator.getitem and reads:
                return _part(node, reads, first, second)
            return reads
        if name in KIND:
            return frozenset()
        if name not in SIZES or any("value" in self.reads[n] for n in inputs):
            return frozenset({"value"})
        if inputs[0].op == "placeholder" and node.args[1:] == (1,):
            return frozenset()  # as good as fixed: a call checks it
        return frozenset({"size"} if first == second else {"size", "batch"})

    def truth(self, proxy: fx.Proxy) -> bool:
        """Whether a condition is true; one on values is noted, and answered as the example is."""
        first, _ = self.values[proxy.node]
        by_values = holds_tensors(first) or "value" in self.reads[proxy.node]
        if not by_values or proxy.node in self.constants:
            return bool(self.decided(proxy))
        stack = traceback.extract_stack()
        self.asked.append(users_line([(frame.filename, str(frame.lineno)) for frame in stack]))
        return bool(first) != (len(self.asked) - 1 == self.turned)

    def decided(self, proxy: fx.Proxy) -> Any:
        """The value of what decides how the forward goes on.

        Raises:
            TraceError: it depends on more than shapes.
        """
        first, second = self.values[proxy.node]
        reads = self.reads[proxy.node]
        if proxy.node in self.constants:
            return first
        if holds_tensors(first) or "value" in reads:
            self.undecided(VALUES)
        if first != second:
            self.undecided(_BATCH)
        if "size" in reads:
            self._hold(proxy, first)
        if "batch" in reads:
            image = sum(x[0].numel() for x in self.examples[0].values())
            other = other_count(proxy.node, self.values, 2, image)
            self.other_counts |= {1} if other is None else {1, other}
        return first

    def length(self, proxy: fx.Proxy) -> Any:
        """What len gives: of as many rows as there are images, a stand-in, as their size is."""
        first, second = self.values[proxy.node]
        as_many = isinstance(first, Tensor) and len(first) != len(second)
        return proxy.size(0) if as_many and not self.reads[proxy.node] else len(proxy)

    def decided_length(self, proxy: fx.Proxy) -> int:
        """Of a size: how many dimensions; of several tensors: how many; of a tensor: how long."""
        first, second = self.values[proxy.node]
        if "value" in self.reads[proxy.node]:
            self.undecided(VALUES)
        if len(first) != len(second):
            self.undecided(_BATCH)
        images = proxy.node not in self.constants
        if images and holds_tensors(first) and proxy.node.target not in ("chunk", torch.chunk):
            self._hold(self.create_proxy("call_function", len, (proxy,), {}), len(first))
        return len(first)

    def _hold(self, proxy: fx.Proxy, decided: Any) -> None:
        """Let the network check that what sizes have decided is so for those of other images."""
        if "batch" in self.reads[proxy.node] or not isinstance(decided, bool | int | float):
            self.fixed_size = True
        elif proxy.node not in self.held:
            self.held.add(proxy.node)
            self.create_proxy("call_function", same_decision, (proxy, decided), {})


def _part(node: fx.Node, reads: frozenset[str], first: Any, second: Any) -> frozenset[str]:
    """What is read by taking one of several sizes."""
    if first == second:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        of_input = source.all_input_nodes and source.all_input_nodes[0].op == "placeholder"
        return frozenset() if of_input and node.args[1] == 1 else reads - {"batch"}
    return reads - {"size"} if (first, second) == (2, 3) else reads
