"""What a forward pass keeps for its backward pass, in bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Saved:
    """Bytes kept: in all, and beside memory that is there anyway."""

    bytes: int
    beside: int


def saved_by(forward: Callable[[], object], there: Tensor) -> Saved:
    """What autograd is given to keep during `forward`; memory shared by several tensors once.

    `there` is a tensor that the caller holds, as a network's input: keeping it costs nothing.
    """
    kept: list[Tensor] = []  # alive until the end, so that no memory is used twice

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    storages = {s.data_ptr(): s.nbytes() for s in (tensor.untyped_storage() for tensor in kept)}
    del result
    total = sum(storages.values())
    return Saved(total, total - storages.get(there.untyped_storage().data_ptr(), 0))
