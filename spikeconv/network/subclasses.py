"""Whether a layer computes what torch's own does: subclasses, hooks, methods put in their place."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as _of_torch

# What a subclass may define and still compute what its base does.
_RENAMING = {"__init__", "__repr__", "extra_repr", "__doc__", "__module__", "__qualname__"}
_RENAMING |= {"__annotations__", "__annotate_func__", "__firstlineno__", "__static_attributes__"}


def is_changed(module: nn.Module) -> bool:
    """Whether a hook, of all modules too, or a method of its own may change what it gives."""
    everywhere = *_of_torch._global_forward_hooks, *_of_torch._global_forward_pre_hooks
    return bool(everywhere) or is_changed_itself(module)


def is_changed_itself(module: nn.Module) -> bool:
    """Whether a hook of its own, or a method in place of its class's, may change what it gives."""
    if module._forward_hooks or module._forward_pre_hooks:
        return True
    return any(callable(getattr(type(module), name, None)) for name in vars(module))


def only_renames(kind: type[nn.Module]) -> bool:
    """Whether a class is a layer of torch.nn that was given another name or other defaults."""
    own = [base for base in kind.__mro__ if not base.__module__.startswith(("torch.", "builtins"))]
    return bool(own) and all(map(adds_nothing, own))


def adds_nothing(kind: type[nn.Module]) -> bool:
    """Whether a class defines nothing that changes what its base computes."""
    return set(vars(kind)) <= _RENAMING


def computes_as(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a layer computes what one of these does: a subclass with its own forward may not."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in kinds)
