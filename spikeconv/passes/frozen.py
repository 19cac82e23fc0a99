"""Before all passes: a copy of the user's module to work on, without what is wrapped around it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

from spikeconv.network.settled import settle
from spikeconv.network.subclasses import computes_as
from spikeconv.passes.closures import with_own_closures
from spikeconv.passes.errors import ConversionError, Problem

_SCRIPTED = (
    "it is compiled by torch.jit, which nothing can be read from; give the module that it was "
    "compiled from"
)
_EXPORTED = (
    "it is made of ATen's operators, as torch.export leaves them, in which layers cannot be told; "
    "give the network that was exported"
)
_LAZY = "its weights have no shape yet; run the network on a batch once"
_META = "its weights are on the meta device, where they have no values; load them first"
_NOT_FINITE = "its {} holds NaN or infinity; was its training broken off by them?"
_HOOKED = (
    "it has a hook, and conversion takes the network without what is wrapped around it; register "
    "the hook on the module within"
)

_HOOKS = (
    *("_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks"),
    *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)
# What holds a network under the name "module" and computes the same.
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def frozen(ann: nn.Module) -> nn.Module:
    """A copy in eval mode and without gradients; normalised weights become plain ones.

    Of its hooks those around forward are kept, since they may change what it computes. Layers that
    were changed after they were made say what they compute (`spikeconv.network.settled`).

    Of ``nn.DataParallel``, ``DistributedDataParallel``, ``AveragedModel`` and what torch.compile
    gives, around the network or a part of it, the module within is taken.

    Raises:
        TypeError: ann is not a module, or cannot be copied.
        ConversionError: some of it is compiled by torch.jit, or its weights are not there yet, or
            not finite.
    """
    if not isinstance(ann, nn.Module):
        raise TypeError(f"convert: ann must be a torch.nn.Module, got {type(ann).__name__}")
    problems = list(_obstacles(ann))
    if problems:
        raise ConversionError(problems)
    network = _copied(ann).eval()
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            _own_class(module)
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                _make_plain(module, name)
        settle(module)
        _drop_hooks(module)
    problems = list(_not_finite(network))
    if problems:
        raise ConversionError(problems)
    return network.requires_grad_(False)


def twin(network: nn.Module) -> nn.Module:
    """A copy with the same weights, in the same memory, and attributes of its own.

    A forward may keep what it computes, such as a grid of the images' size. Kept while it is
    traced, that is a stand-in, which the next call would take for a tensor.
    """
    weights = (*network.parameters(), *network.buffers())
    memo: dict[int, Any] = {id(tensor): tensor for tensor in weights}
    copied = with_own_closures(copy.deepcopy(network, memo), memo)
    modes = {name: module.training for name, module in network.named_modules()}
    for name, module in copied.named_modules():
        module.training = modes.get(name, False)  # a torch.fx.GraphModule is copied to train mode
    return copied


def _obstacles(ann: nn.Module) -> Iterator[Problem]:
    """What in a network makes a copy of it useless."""
    within_script: set[nn.Module] = set()
    for path, module in ann.named_modules():
        reason = ""
        tensors = [*module._parameters.values(), *module._buffers.values()]
        if module in within_script:
            continue
        if isinstance(module, torch.jit.ScriptModule):
            within_script.update(module.modules())
            reason = _SCRIPTED
        elif _is_exported(module):
            reason = _EXPORTED
        elif any(is_lazy(tensor) for tensor in tensors):
            reason = _LAZY
        elif any(tensor is not None and tensor.is_meta for tensor in tensors):
            reason = _META
        elif _within(module) is not None and (module._forward_hooks or module._forward_pre_hooks):
            reason = _HOOKED
        if reason:
            yield Problem(path, type(module).__name__, "", reason)


def _not_finite(network: nn.Module) -> Iterator[Problem]:
    """Layers of torch with a weight, or a statistic of a batch norm, that is not finite.

    Of other classes a parameter may be a mask or a bound, in which infinity is a value.
    """
    for path, module in network.named_modules():
        if not type(module).__module__.startswith("torch.nn.modules"):
            continue
        statistics = {name: module._buffers.get(name) for name in ("running_mean", "running_var")}
        for name, tensor in {**module._parameters, **statistics}.items():
            if tensor is not None and not bool(torch.isfinite(tensor.detach()).all()):
                yield Problem(path, type(module).__name__, "", _NOT_FINITE.format(name))


def _is_exported(module: nn.Module) -> bool:
    return isinstance(module, fx.GraphModule) and any(
        isinstance(node.target, torch._ops.OpOverload) for node in module.graph.nodes
    )


def _copied(ann: nn.Module) -> nn.Module:
    """A deep copy without wrappers."""
    # What a forward has kept of its last run cannot be copied while it holds a gradient's history.
    kept: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in ann.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    memo = dict(kept)
    try:
        for module in reversed(list(ann.modules())):  # what is within comes first
            inner = _within(module)
            if inner is not None:
                memo[id(module)] = copy.deepcopy(inner, memo)
        return with_own_closures(copy.deepcopy(ann, memo), memo)
    except Exception as error:
        attribute = _not_copied(ann, kept)
        raise TypeError(
            f"convert: ann must be a module that can be copied; {attribute} cannot: {error}; set "
            "it to None while converting, or keep it elsewhere"
        ) from error


def _within(module: nn.Module) -> nn.Module | None:
    """The module in a wrapper that computes the same; None where it is no such wrapper."""
    if computes_as(module, *_WRAPPERS):
        return module.get_submodule("module")
    # Only torch.compile loads it, which takes seconds.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    if compiler is not None and isinstance(module, compiler.OptimizedModule):
        inner: nn.Module = module._orig_mod
        return inner
    return None


def _not_copied(ann: nn.Module, kept: dict[int, Any]) -> str:
    """Which of a network's attributes cannot be copied."""
    for path, module in ann.named_modules():
        for name, value in vars(module).items():
            try:
                if name != "_modules":
                    copy.deepcopy(value, dict(kept))
            except Exception:
                return f"its attribute {f'{path}.{name}'.lstrip('.')!r}"
    return "it"


def _make_plain(module: nn.Module, name: str) -> None:
    """Let a weight be what it was computed to be; torch makes a buffer of some."""
    computed = module.get_submodule("parametrizations").get_submodule(name)
    learns = any(True for _ in computed.parameters())
    parametrize.remove_parametrizations(module, name)
    if learns and name in module._buffers:
        value = module.get_buffer(name).detach()
        del module._buffers[name]
        module.register_parameter(name, nn.Parameter(value))


def _drop_hooks(module: nn.Module) -> None:
    """Take off a copied module what its owner hears of gradients and of state dicts."""
    for name in _HOOKS:
        getattr(module, name).clear()
    module._is_full_backward_hook = None


def _own_class(module: nn.Module) -> None:
    """Give a copied module a class of its own: parametrizations are taken off the class, too."""
    kind = type(module)
    body = {name: v for name, v in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(kind.__name__, kind.__bases__, body)
