"""Layers that keep their class's attributes, state and identity, and get another forward.

A layer of snnTorch, Sinabs or Norse is replaced by a subclass of its own class: all that these
libraries look for, from reset functions to checkpoints, is there as before. What the shorter
forward relies on is looked at again whenever it changes, for users set attributes and load
checkpoints; a layer that is no longer plain runs as it always did. What is written through a
tensor's ``.data`` torch does not count, so of tensors with dimensions or on a GPU it is not seen.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from spikeconv.changes import version

# What a subclass may define and still do the same.
_HARMLESS = {
    *("__module__", "__doc__", "__init__", "__annotations__", "__qualname__", "__parameters__"),
    *("__firstlineno__", "__static_attributes__"),
}


def changed_by_user(module: nn.Module, kind: type) -> str | None:
    """Why a module may do other things than its class `kind` does, or None."""
    own = [
        name
        for cls in type(module).__mro__[: type(module).__mro__.index(kind)]
        for name in vars(cls)
        if name not in _HARMLESS
    ]
    if own:
        return f"{type(module).__name__} is {kind.__name__} with its own {', '.join(sorted(own))}"
    patched = [name for name in vars(module) if callable(getattr(type(module), name, None))]
    if patched:
        return f"{', '.join(sorted(patched))} was set on the module itself"
    if any(tensor.is_meta for tensor in chain(module.parameters(), module.buffers())):
        return "it has no data yet (meta device)"
    if vars(module).get("_compiled_call_impl") is not None:
        return "it was compiled by its compile(): replace neurons first, compile then"
    return None


class Adopted(nn.Module):
    """Mixin of the replaced classes: whether what their forward relies on still holds.

    A class gives `_relies_on`, which lists it, and `_why_not`, which judges it; what the forward
    reads of it in another form is made in `_settle`.
    """

    _seen: object = None
    _plain = False

    def _relies_on(self) -> tuple[Any, ...]:
        """Attributes and tensors that decide whether the shorter forward does the same."""
        raise NotImplementedError

    def _why_not(self) -> str | None:
        """Why it would not do the same, or None."""
        raise NotImplementedError

    def _settle(self) -> None:
        """Called when the layer is plain and was not, or relies on new values."""

    def _is_plain(self) -> bool:
        """Whether the shorter forward does what the original does."""
        if torch.compiler.is_compiling():
            return self._plain
        now = tuple(map(version, self._relies_on()))
        if now != self._seen:
            self._plain = self._why_not() is None
            self._seen = now
            if self._plain:
                self._settle()
        return self._plain


def adopt(module: nn.Module, original: type, adopted: type[Adopted]) -> str | None:
    """Make a module of one class an adopted one, in place; or say why it is left as it is."""
    why: str | None = changed_by_user(module, original)
    if why is not None:
        return why
    before = type(module)
    changed: Any = module
    changed.__class__ = adopted
    why = changed._why_not()
    if why is None:
        changed._is_plain()
    else:
        changed.__class__ = before
    return why


def shape_changed(who: str, kept: Tensor, neurons: torch.Size, how: str) -> ValueError:
    """The error of a call on neurons of another shape than the state's that is kept."""
    return ValueError(
        f"{who}: the input must be a current of {list(kept.shape)} neurons, whose potential is "
        f"kept from the call before, got {list(neurons)}; call {how} before a batch of another "
        "shape"
    )
