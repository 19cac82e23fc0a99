"""What calls read of the images: nothing, sizes alone, or values; and constants made by sizes."""

from __future__ import annotations

import enum
import itertools
import operator

import torch
from torch import Tensor, fx

from spikeconv.network.vocabulary import LIKE_IN_KIND, LIKE_IN_SIZE

# What a tensor tells about itself: the same for all images of a network, or of one size.
KIND = {"dim", "ndim", "ndimension", "dtype", "device", "layout", "is_floating_point", "is_cuda"}
KIND |= {"is_complex", "requires_grad", "is_contiguous", "is_sparse", "is_quantized"}
SIZES = {"shape", "size", "numel", "nelement", "stride", "element_size"}

# Functions that make a tensor from numbers.
FACTORIES = (
    *(torch.zeros, torch.ones, torch.full, torch.eye),
    *(torch.arange, torch.linspace, torch.logspace, torch.tensor),
)
# Likewise, drawn at random.
DRAWS = (torch.rand, torch.randn, torch.randint, torch.randperm)
# Calls that read of the operands behind the first where they lie and of which type they are.
_AFTER_ANOTHER = {"to", "type_as"}


class Reads(enum.IntEnum):
    """What a value depends on, of the images; it is read off the graph, not off examples."""

    NOTHING = 0
    SIZES = 1
    VALUES = 2


def note_reads(node: fx.Node) -> None:
    """Set ``reads`` in a node's meta; the nodes that it reads have theirs."""
    if node.op == "placeholder":
        node.meta["reads"] = Reads.VALUES
        return
    inputs = list(node.all_input_nodes)
    own = Reads.NOTHING
    if _asks_for_shape(node):
        source = inputs.pop(0)
        own = min(_of_shape(node), source.meta["reads"])
    elif _is_channels(node):
        inputs = []
    elif node.op == "call_method" and node.target in _AFTER_ANOTHER:
        inputs = inputs[:1]
    node.meta["reads"] = max([own, *(n.meta["reads"] for n in inputs)])


def _asks_for_shape(node: fx.Node) -> bool:
    """Whether a call reads no value of its first operand."""
    if node.target is getattr:
        return node.args[1] in KIND | SIZES
    names = KIND | SIZES | LIKE_IN_KIND
    if node.op == "call_method":
        return node.target in names
    return node.op == "call_function" and node.target in LIKE_IN_SIZE and bool(node.args)


def _of_shape(node: fx.Node) -> Reads:
    asked = node.args[1] if node.target is getattr else node.target
    channels = asked == "size" and node.args[1:] == (1,) and _is_of_input(node)
    return Reads.NOTHING if channels or asked in KIND | LIKE_IN_KIND else Reads.SIZES


def _is_channels(node: fx.Node) -> bool:
    """Whether a call is `x.shape[1]` of an input, as good as fixed: a call checks it."""
    source = node.args[0] if node.args else None
    if node.target is not operator.getitem or not isinstance(source, fx.Node):
        return False
    is_shape = source.target is getattr and source.args[1] == "shape"
    is_size = source.target == "size" and len(source.args) == 1
    return (is_shape or is_size) and _is_of_input(source) and bool(node.args[1] == 1)


def _is_of_input(node: fx.Node) -> bool:
    source = node.args[0]
    return isinstance(source, fx.Node) and source.op == "placeholder"


def hold_constants(traced: fx.GraphModule) -> None:
    """Keep what sizes alone have made, the same for every image, as a constant of the network.

    It holds for images of that size, so the traced network's meta says ``fixed_size`` then.
    """
    for node in list(traced.graph.nodes):
        value = node.meta.pop("value", None)
        if not isinstance(value, Tensor) or not node.users:
            continue
        names = (f"{node.name}_value{i or ''}" for i in itertools.count())
        name = next(name for name in names if not hasattr(traced, name))
        traced.register_buffer(name, value.clone())
        with traced.graph.inserting_before(node):
            held = traced.graph.get_attr(name)
        held.meta.update(node.meta)
        node.replace_all_uses_with(held)
        if node.meta["reads"] is Reads.SIZES:
            traced.meta["fixed_size"] = True


def takes_shapes_for_tensors(graph: fx.Graph) -> bool:
    """Whether a method is called on a shape that shapes have not, as np.prod does if it finds one.

    Of stand-ins it finds them all; of a shape it would make an array.
    """
    shapes: set[fx.Node] = set()
    for node in graph.nodes:
        source = node.args[0] if node.args else None
        if node.target is getattr or (node.op, node.target) == ("call_method", "size"):
            is_shape = node.args[1:] in ((), ("shape",))
        else:
            sliced = node.target is operator.getitem and isinstance(node.args[1], slice)
            is_shape = sliced and source in shapes
        if is_shape:
            shapes.add(node)
        elif node.op == "call_method" and source in shapes and not hasattr(torch.Size, node.target):
            return True
    return False
