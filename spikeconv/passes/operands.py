"""A traced call's operand, before anything else looks: by position, and with its batch."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import torch
from torch import fx, nn
from torch.fx.operator_schemas import get_signature_for_torch_op

from spikeconv.network.layers import squeeze_samples
from spikeconv.passes import kinds
from spikeconv.passes.sizes import Reads, note_reads
from spikeconv.passes.trace import called

_REVERSED = (torch.rsub, "rsub")
_REDUCTIONS = (torch.sum, torch.mean, torch.amax, "sum", "mean", "amax")


def unify_operands(traced: fx.GraphModule) -> None:
    """Give every layer and function its operand by position, and keep to dimensions of an image.

    Values that are stacked before the batch, only to be added up or averaged, are stacked behind
    it; `squeeze()` leaves the batch.

    Every node's meta then says what it ``reads`` of the images.
    """
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        if node.op in ("call_module", "call_function"):
            _operand_first(node, modules)
        note_reads(node)
        if _squeezes_all(node) and node.args[0].meta["reads"] is Reads.VALUES:
            # Of a batch of one image, and of no other, the batch would go, too.
            node.op, node.target = "call_function", squeeze_samples
        if node.target in _REVERSED and len(node.args) == 2 and not node.kwargs:
            node.op, node.target, node.args = "call_function", operator.sub, node.args[::-1]
    for node in traced.graph.nodes:
        stacked = node.target is torch.stack and node.meta["reads"] is Reads.VALUES
        if stacked and _dimension(node) == 0 and _is_reduced(node):
            for call in (node, *node.users):
                call.args, call.kwargs = (call.args[0], 1), {}


def _operand_first(node: fx.Node, modules: dict[str, nn.Module]) -> None:
    """`f(input=x)` to `f(x)`."""
    if node.args or not node.kwargs:
        return
    name = _first_parameter(called(node, modules))
    if name in node.kwargs:
        node.args = (node.kwargs[name],)
        node.kwargs = {key: value for key, value in node.kwargs.items() if key != name}


def _first_parameter(target: Any) -> str:
    """What a layer or function calls its operand; "" where that is not known."""
    if isinstance(target, nn.Module):
        signatures = [inspect.signature(target.forward)]
    else:  # inspect knows none of torch's own functions
        signatures = get_signature_for_torch_op(target) or []
    return next((name for one in signatures for name in one.parameters), "")


def _dimension(node: fx.Node) -> Any:
    """The dimension that a stack, or a sum of all values along one, is asked for by itself."""
    names = {*node.kwargs} - {"dim"}
    if names or len(node.args) + len(node.kwargs) > 2:
        return None
    default = 0 if node.target is torch.stack else None
    return kinds.argument(node, 1, "dim", default)


def _is_reduced(stack: fx.Node) -> bool:
    """Whether all that is read of a stack is a reduction along its first dimension."""
    return all(
        user.target in _REDUCTIONS and user.args[:1] == (stack,) and _dimension(user) == 0
        for user in stack.users
    )


def _squeezes_all(node: fx.Node) -> bool:
    """Whether a call takes away every dimension of size 1."""
    called_so = (node.op, node.target) in (
        ("call_method", "squeeze"),
        ("call_function", torch.squeeze),
    )
    return called_so and len(node.args) == 1 and not node.kwargs
