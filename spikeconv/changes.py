"""Whether a value is still what it was when it was looked at."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable

from torch import Tensor, nn

# Attributes that are no tensors, and that what is made of a module depends on, for those modules
# that have the first: of neurons, of layers with a window, of adaptive pools, and of norms.
_OPTIONS = (
    ("v_reset", "fires", "signed", "detach_reset", "_backend"),
    (
        *("stride", "kernel_size", "padding", "dilation", "padding_mode", "groups"),
        *("ceil_mode", "count_include_pad", "divisor_override"),
    ),
    ("output_size",),
    ("eps",),
)


def version(value: object) -> object:
    """Equal for a value that has not changed, as far as can be seen without waiting for a GPU.

    >>> import torch
    >>> weights = torch.ones(3)
    >>> before = version(weights)
    >>> before == version(weights), before == version(weights.add_(1))
    (True, False)
    """
    if not isinstance(value, Tensor):
        return value
    if value.dim() == 0 and value.device.type == "cpu":
        return value.item()  # which sees what `value.data.fill_()` did, too
    return object() if value.is_inference() else _Version(value)


class _Version:
    """A tensor, which is not kept alive, and how often it was changed."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = weakref.ref(tensor)
        self._changes = tensor._version

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Version):
            return False
        mine = self._tensor()
        return mine is not None and mine is other._tensor() and self._changes == other._changes

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()  # a copy's tensor is another one


class Watch:
    """Notices changes of modules: of their parameters, buffers and options, of hooks and a forward
    of their own, and which modules they are. What is written through ``.data``, or to a tensor made
    in inference mode, is not counted by torch and not seen.

    >>> import torch
    >>> layer, watch = nn.Linear(2, 2), Watch()
    >>> watch.changed([layer]), watch.changed([layer])
    (True, False)
    >>> _ = layer.load_state_dict({"weight": torch.ones(2, 2), "bias": torch.ones(2)})
    >>> watch.changed([layer])
    True
    """

    def __init__(self) -> None:
        self._seen: list[object] = []
        self._held: list[Tensor] = []

    def changed(self, modules: Iterable[nn.Module], also: Iterable[Tensor] = ()) -> bool:
        """Whether they differ from those of the call before.

        Of their own submodules only those count that compute parameters (parametrizations).

        Args:
            modules: what is watched.
            also: tensors besides.
        """
        seen: list[object] = []
        tensors = [*also]
        for module in itertools.chain.from_iterable(map(_with_parametrizations, modules)):
            seen.append(id(module))
            own = module.__dict__
            for options in _OPTIONS:
                if options[0] in own:
                    seen += map(own.get, options)
            seen += [*module._forward_hooks, *module._forward_pre_hooks]
            seen.append(own.get("forward"))
            tensors += [t for t in module._parameters.values() if t is not None]
            tensors += [t for t in module._buffers.values() if t is not None]
        seen += [tensor.data_ptr() for tensor in tensors]
        seen += [None if tensor.is_inference() else tensor._version for tensor in tensors]
        if seen == self._seen:
            return False
        # Their memory is held, so that no other tensor can come to lie at the same address.
        self._seen, self._held = seen, [tensor.detach() for tensor in tensors]
        return True


def _with_parametrizations(module: nn.Module) -> Iterable[nn.Module]:
    """A module, and what its parameters are computed by and from."""
    computed = module._modules.get("parametrizations")
    return (module,) if computed is None else (module, *computed.modules())
