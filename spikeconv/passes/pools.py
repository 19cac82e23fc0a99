"""Max pooling in one spelling, and before the neurons, where it commutes with them."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from spikeconv.network.layers import Largest, Rectifier
from spikeconv.passes import kinds
from spikeconv.passes.rewrite import call_new_module, first, modules_of
from spikeconv.passes.trace import called

_Spelling = tuple[type[nn.Module], tuple[str, ...]]
_SPELLINGS: dict[Callable[..., Any], _Spelling] = {}
_WITH_INDICES: dict[Callable[..., Any], _Spelling] = {}
for _dim in (1, 2, 3):
    _window = ("kernel_size", "stride", "padding", "dilation")
    _pool = getattr(nn, f"MaxPool{_dim}d")
    _SPELLINGS[getattr(F, f"max_pool{_dim}d")] = (_pool, (*_window, "ceil_mode"))
    _SPELLINGS[getattr(torch, f"max_pool{_dim}d")] = (_pool, (*_window, "ceil_mode"))
    _SPELLINGS[getattr(F, f"adaptive_max_pool{_dim}d")] = (
        getattr(nn, f"AdaptiveMaxPool{_dim}d"),
        ("output_size",),
    )
    for _name in (f"max_pool{_dim}d", f"adaptive_max_pool{_dim}d"):
        _WITH_INDICES[getattr(F, f"{_name}_with_indices")] = _SPELLINGS[getattr(F, _name)]


def as_max_pool(node: fx.Node) -> nn.Module | None:
    """The layer that a call of a function or method that pools its largest values stands for."""
    if node.target in _SPELLINGS and not kinds.returns_indices(node, {}):
        return _spelled_out(node, _SPELLINGS[node.target])
    if node.target in (torch.amax, "amax"):
        return _largest(node, kinds.argument(node, 1, "dim", ()))
    return None


def _spelled_out(node: fx.Node, spelling: _Spelling) -> nn.Module | None:
    """The module of a call of a function; None where sizes of its input are among its arguments."""
    if len(node.all_input_nodes) > 1:
        return None
    pool, names = spelling
    given = {name: kinds.argument(node, i, name) for i, name in enumerate(names, start=1)}
    return pool(**{name: value for name, value in given.items() if value is not None})


def _largest(node: fx.Node, dims: Any) -> nn.Module | None:
    """A pool over all of some dimensions of an image; None where the batch is among them."""
    source = first(node)
    rank = len(source.meta.get("shape", ()))
    dims = tuple(dims) if isinstance(dims, list | tuple) else (dims,)
    if not dims or not all(isinstance(dim, int) and dim % max(1, rank) for dim in dims):
        return None
    keep = kinds.argument(node, 2, "keepdim", False)
    return Largest(tuple(dim % rank for dim in dims), bool(keep))


def without_indices(traced: fx.GraphModule) -> None:
    """`x.max(dim)` and pools with indices that nobody reads become pools of values alone."""
    for node in reversed(traced.graph.nodes):
        if node.target is operator.getitem and not node.users:
            traced.graph.erase_node(node)  # as `values, _ = pool(x)` leaves it
    for node in list(traced.graph.nodes):
        values = [user for user in node.users if _is_values(user)]
        if not values or len(values) != len(node.users):
            continue
        pool = _values_alone(node, modules_of(traced))
        if pool is None:
            continue
        for user in values:
            call_new_module(traced, user, first(node), copy.copy(pool))
            user.meta.update(path=node.meta["path"], line=node.meta["line"])
        traced.graph.erase_node(node)


def _values_alone(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    """The pool of a call that gives maxima and their indices."""
    if node.op != "call_module" and node.target in (torch.max, "max"):
        return _largest(node, kinds.argument(node, 1, "dim"))
    if not kinds.is_max_pool(node, modules) or not kinds.returns_indices(node, modules):
        return None
    if node.target in _WITH_INDICES:
        return _spelled_out(node, _WITH_INDICES[node.target])
    pool = copy.copy(modules[str(node.target)])
    pool.__dict__["return_indices"] = False
    return pool


def _is_values(node: fx.Node) -> bool:
    """Whether a call takes the values of a pair of values and indices."""
    if node.target is operator.getitem:
        return bool(node.args[1] == 0)
    return node.target is getattr and node.args[1] == "values"


def pools_before_neurons(traced: fx.GraphModule) -> None:
    """Max pooling of a rectifier's output becomes a rectifier of pooled currents.

    max(relu(a), relu(b)) = relu(max(a, b)), exactly. A rectifier with other readers stays for them.
    What is concatenated along channels is pooled part by part, where channels are not pooled.
    """
    modules = modules_of(traced)
    moved = True
    while moved:
        moved = False
        for node in traced.graph.nodes:
            if node.op != "call_module" or not kinds.is_max_pool(node, modules):
                continue
            if kinds.returns_indices(node, modules):
                continue
            source = first(node)
            rectifier = _rectifier(source, modules)
            parts = _parts(source, modules[str(node.target)])
            if rectifier is not None:
                _swap(traced, source, node, rectifier)
            elif parts and all(_rectifier(part, modules) is not None for part in parts):
                _pool_parts(traced, source, node, parts)
            else:
                continue
            modules = modules_of(traced)
            moved = True
            break


def _rectifier(node: fx.Node, modules: dict[str, nn.Module]) -> Rectifier | None:
    layer = called(node, modules) if node.op == "call_module" else None
    return layer if isinstance(layer, Rectifier) else None


def _parts(source: fx.Node, pool: nn.Module) -> list[fx.Node]:
    """What is concatenated along channels for a pool alone that leaves them apart."""
    rank = len(source.meta.get("shape", ()))
    if source.target not in (torch.cat, torch.concat, torch.concatenate) or len(source.users) > 1:
        return []
    apart = 1 not in pool.dims if isinstance(pool, Largest) else rank > _pooled_dims(pool) + 1
    along = kinds.argument(source, 1, "dim", 0)
    parts = kinds.argument(source, 0, "tensors")
    return list(parts) if apart and isinstance(along, int) and along % rank == 1 else []


def _pooled_dims(pool: nn.Module) -> int:
    """How many dimensions, from the last, a max pool pools over."""
    return int(type(pool).__name__[-2])


def _pool_parts(
    traced: fx.GraphModule, joined: fx.Node, pool: fx.Node, parts: list[fx.Node]
) -> None:
    pooled = []
    for part in parts:
        with traced.graph.inserting_before(pool):
            pooled.append(traced.graph.call_module(str(pool.target), (part,)))
        shape = (*pool.meta["shape"][:1], part.meta["shape"][1], *pool.meta["shape"][2:])
        pooled[-1].meta.update(pool.meta, shape=shape)
    pool.op, pool.target = "call_function", torch.cat
    pool.args, pool.kwargs = (pooled, 1), {}
    pool.meta.update(path=joined.meta["path"], line=joined.meta["line"])
    traced.graph.erase_node(joined)


def _swap(traced: fx.GraphModule, neuron: fx.Node, pool: fx.Node, rectifier: Rectifier) -> None:
    with traced.graph.inserting_before(pool):
        pooled = traced.graph.call_module(str(pool.target), (neuron.args[0],))
        pooled.meta.update(pool.meta)
    path, line = neuron.meta["path"], neuron.meta["line"]
    call_new_module(traced, pool, pooled, rectifier.like())
    pool.meta.update(path=path, line=line)
    if not neuron.users:
        traced.graph.erase_node(neuron)
