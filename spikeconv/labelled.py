"""What a loader of labelled images gives, for networks of one input or several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def labelled(
    batch: Any, what: str, device: torch.device
) -> tuple[Sequence[Tensor], Mapping[str, Tensor], Tensor]:
    """Inputs by position, inputs by name, and labels, from a batch of a loader.

    Args:
        batch: a pair (images, labels), in which images are a tensor, a tuple or list of those of
            several inputs, or a dict of them by the names of forward's arguments.
        what: the error's beginning.
        device: where they are wanted.

    Raises:
        TypeError: it is no such pair.

    Example:
        >>> x, labels = torch.zeros(4, 3), torch.tensor([0, 1, 1, 0])
        >>> inputs, named, _ = labelled((x, labels), "batch 0", torch.device("cpu"))
        >>> len(inputs), dict(named)
        (1, {})
    """
    if isinstance(batch, Mapping | Tensor) or not isinstance(batch, Iterable):
        hint = "; inputs by name go first, as ({...}, labels)" if isinstance(batch, Mapping) else ""
        raise TypeError(f"{what} must be a pair (images, labels), got {type(batch).__name__}{hint}")
    pair = tuple(batch)
    if len(pair) != 2:
        raise TypeError(
            f"{what} must be a pair (images, labels), got {len(pair)} values; several inputs go "
            "together, as ((x, y), labels)"
        )
    images, labels = pair
    if not isinstance(labels, Tensor):
        raise TypeError(f"{what}: labels must be a tensor [B], got {type(labels).__name__}")
    inputs: Sequence[Any] = ()
    named: Mapping[str, Any] = {}
    if isinstance(images, Mapping):
        named = images
    else:
        inputs = images if isinstance(images, tuple | list) else (images,)
    for x in (*inputs, *named.values()):
        if not isinstance(x, Tensor):
            raise TypeError(f"{what}: images must be tensors, got {type(x).__name__}")
    return (
        [x.to(device) for x in inputs],
        {name: x.to(device) for name, x in named.items()},
        labels.to(device),
    )
