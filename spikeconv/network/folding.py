"""Time-steps as images of a larger batch, which is how layers without time take them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from spikeconv.network.structure import map_tensors


def fold(value: Any) -> Any:
    """``[T, B, *]`` as ``[T * B, *]``: layers without time take steps as images."""
    if not isinstance(value, Tensor):
        return value
    if torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling():
        return _flat(value)
    return value.flatten(0, 1)


def _flat(value: Tensor) -> Tensor:
    """The same view with strides that torch.export sees to be those of any number of images.

    Of a view that joins two dimensions it says that a stride is the least of two, of which it
    cannot prove later that the dimension may be cut again; a batch size with a name, as
    ``Dim("batch")`` gives it, would then be refused.
    """
    steps, images, *rest = value.shape
    step, image, *strides = value.stride()
    if step != images * image:
        return value.flatten(0, 1)
    return value.as_strided((steps * images, *rest), (image, *strides))


def unfold(value: Any, n: int, batch: int) -> Any:
    """``[n * B, *]`` as ``[n, B, *]``; undoes `fold`."""
    return value.unflatten(0, (n, batch)) if isinstance(value, Tensor) else value


def in_time(value: Any, n: int, broadcasts: bool) -> Any:
    """A value without time ``[B, *]`` as it meets one with n steps."""
    if broadcasts:
        return value.unsqueeze(0) if isinstance(value, Tensor) else value
    return value if n == 1 else map_tensors(partial(_repeat, n=n), value)


def _repeat(value: Tensor, n: int) -> Tensor:
    return value.expand(n, *value.shape).flatten(0, 1)
