"""Pass 2: the traced graph in one spelling, with batch norm folded and max pools before neurons.

After it, a graph holds rectifiers, layers whose weights are constant, max pools and batch norms as
modules, nothing that does nothing, nothing that writes in place, and reshapes that take the batch
size from their operand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from spikeconv.network import vocabulary
from spikeconv.network.layers import reshape_like, reshape_samples
from spikeconv.passes import inert, kinds
from spikeconv.passes.functional import as_layer
from spikeconv.passes.norms import as_batch_norm, with_weights
from spikeconv.passes.pools import as_max_pool, pools_before_neurons, without_indices
from spikeconv.passes.rectifiers import as_rectifier
from spikeconv.passes.rewrite import call_new_module, first, modules_of, name_call_site
from spikeconv.passes.sizes import Reads, hold_constants
from spikeconv.passes.trace import called


def normalise(traced: fx.GraphModule) -> None:
    """Bring a traced network into the form above, in place; what is not understood stays."""
    out_of_place(traced)
    hold_constants(traced)
    drop_inert(traced)
    without_indices(traced)
    unify_spellings(traced)
    traced.graph.eliminate_dead_code()  # who only asked for a size is no reader
    fold_batch_norms(traced)
    pools_before_neurons(traced)
    traced.graph.eliminate_dead_code()
    one_reader_each(traced)
    traced.graph.lint()


def out_of_place(traced: fx.GraphModule) -> None:
    """Undo writing in place: what reads an overwritten value later reads the new one, as it did."""
    order = {node: index for index, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        for written in node.meta.get("overwrites", ()):
            for user in list(written.users):
                if order[user] > order[node]:
                    user.replace_input_with(written, node)
        other = kinds.IN_PLACE.get(node.target)
        if other is not None:
            node.op = "call_method" if isinstance(other, str) else "call_function"
            node.target = other


def drop_inert(traced: fx.GraphModule) -> None:
    """Remove dropout, identities, copies and checks of values, which the meta names in `checks`."""
    modules = modules_of(traced)
    for node in list(traced.graph.nodes):
        if node.op.startswith("call") and inert.is_dropped(node, modules):
            if node.target is torch._assert and node.meta["reads"] is Reads.VALUES:
                traced.meta.setdefault("checks", []).append(node.meta["line"])
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)


def unify_spellings(traced: fx.GraphModule) -> None:
    """One spelling of rectifiers, layers with weights, max pools, batch norms and reshapes."""
    modules = modules_of(traced)
    for node in traced.graph.nodes:
        if not node.op.startswith("call"):
            continue
        found = as_rectifier(node, modules)
        if found is not None:
            if node.op != "call_module":
                name_call_site(node, modules)
            call_new_module(traced, node, *found)
            modules = modules_of(traced)
        elif not isinstance(first(node), fx.Node):
            continue
        elif (layer := as_layer(traced, node)) is not None:
            name_call_site(node, modules)
            call_new_module(traced, node, first(node), layer)
            modules = modules_of(traced)
        elif (layer := as_max_pool(node) or as_batch_norm(node, modules)) is not None:
            call_new_module(traced, node, first(node), layer)
            modules = modules_of(traced)
        elif not _keeps_batch(node):
            continue
        elif kinds.is_reshape(node):
            _reshape_samples(node)
        elif node.op == "call_method" and node.target in vocabulary.LIKE_IN_KIND:
            _like_its_batch(node)
        elif node.op == "call_method" and node.target == "expand":
            node.args, node.kwargs = (node.args[0], -1, *_sizes(node)[1:]), {}


def _keeps_batch(node: fx.Node) -> bool:
    """Whether a value has its batch size from its operand: a parameter has none to give."""
    source, shape = first(node).meta.get("shape"), node.meta.get("shape")
    if not source or not shape or (node.target == "expand" and len(source) != len(shape)):
        return False
    return bool(source[0] == shape[0])


def _sizes(node: fx.Node) -> list[Any]:
    """The sizes of a reshape or an expansion, given one by one or together."""
    sizes = list(node.args[1:]) or [node.kwargs.get("size", node.kwargs.get("shape"))]
    return list(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes


def _like_its_batch(node: fx.Node) -> None:
    """`h.new_zeros(x.size(0), ...)` to `h.new_zeros(h.size(0), ...)`.

    At the steps of h there are T times as many images as x has.
    """
    h = first(node)
    sizes: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("size")
    whole = isinstance(sizes, list | tuple)
    count = sizes[0] if whole and sizes else sizes
    if isinstance(count, fx.Node) and count.op.startswith("call") and "sizes" not in count.meta:
        with node.graph.inserting_before(node):
            own = node.graph.call_method("size", (h, 0))
        own.meta.update(count.meta)
        rest = ([own, *sizes[1:]],) if whole else (own,)
        node.args = (h, *rest, *node.args[2:])


def _reshape_samples(node: fx.Node) -> None:
    """`x.view(batch, *sizes)` to `reshape_samples(x, *sizes)`, whatever gives the batch size."""
    x, sizes = node.args[0], _sizes(node)
    one_each = len(node.meta["shape"]) == 1 and not node.meta.get("mixes")
    if not isinstance(sizes[0], torch.dtype) and (len(sizes) >= 2 or one_each):
        node.op, node.target = "call_function", reshape_samples
        node.args, node.kwargs = (x, *sizes[1:]), {}
    elif isinstance(sizes[0], fx.Node) and sizes[0].meta.get("sizes"):
        node.op, node.target = "call_function", reshape_like
        node.args, node.kwargs = (x, sizes[0]), {}


def fold_batch_norms(traced: fx.GraphModule) -> None:
    """Fold every batch norm that reads a convolution or linear layer of its own into its weights.

    w' = w * gamma / sqrt(var + eps) per output channel, b' = (b - mean) * gamma / sqrt(var + eps)
    + beta. Another batch norm, before a layer or after an activation, stays: it is affine.
    """
    modules = modules_of(traced)
    for node in list(traced.graph.nodes):
        if node.op != "call_module":
            continue
        norm = called(node, modules)
        source = first(node)
        if (
            not isinstance(norm, vocabulary.BATCH_NORMS)
            or norm.training
            or not kinds.is_linear(node, modules)
            or not isinstance(source, fx.Node)
            or source.op != "call_module"
            or not kinds.is_linear(source, modules)
            or len(source.users) != 1
        ):
            continue
        layer = called(source, modules)
        assert isinstance(layer, nn.Module)
        layer.eval()  # torch's functions want it so, though it has no modes
        if isinstance(layer, vocabulary.CONVOLUTIONS):
            fused: nn.Module = fuse_conv_bn_eval(layer, norm)
        elif isinstance(layer, vocabulary.TRANSPOSED) and layer.groups == 1:
            fused = fuse_conv_bn_eval(layer, norm, transpose=True)
        elif isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
            if len(source.meta.get("shape", (0, 0))) != 2:  # [B, L, F]: the norm is over L
                continue
            fused = fuse_linear_bn_eval(layer, with_weights(norm, nn.BatchNorm1d))
        else:
            continue
        call_new_module(traced, node, first(source), fused.requires_grad_(False))
        node.meta["path"] = source.meta["path"]
        traced.graph.erase_node(source)
        modules = modules_of(traced)


def one_reader_each(traced: fx.GraphModule) -> None:
    """Every reader of a size or of a tuple of tensors gets a call of its own.

    So each of them runs when its reader runs: a size is that of the batch there, and of two parts
    of a split value one may be read at every step and the other after the last neuron.
    """
    for node in reversed(list(traced.graph.nodes)):
        if not node.op.startswith("call") or "shape" in node.meta:
            continue
        for user in list(node.users)[1:]:
            with traced.graph.inserting_before(node):
                copy = traced.graph.node_copy(node)
                copy.meta["copy_of"] = node
            user.replace_input_with(node, copy)
