"""TF32: whether a GPU rounds the operands of float32 products to 10 bits of mantissa."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# (where, name of the setting, its value without TF32): torch 2.9 gave every operator its own, and
# reading the older ones raises where they say less than those.
_SETTINGS: tuple[tuple[Any, str, object], ...] = (
    (
        (torch.backends.cudnn.conv, "fp32_precision", "ieee"),
        (torch.backends.cuda.matmul, "fp32_precision", "ieee"),
    )
    if hasattr(torch.backends.cudnn, "conv")
    else (
        (torch.backends.cudnn, "allow_tf32", False),
        (torch.backends.cuda.matmul, "allow_tf32", False),
    )
)


def tf32_settings() -> tuple[object, ...]:
    """What torch is told about float32 in convolutions and in matrix products on a GPU."""
    return tuple(getattr(where, name) for where, name, _ in _SETTINGS)


@contextmanager
def without_tf32() -> Iterator[None]:
    """Inside, float32 is float32 on a GPU too, whatever torch is set to; for the whole process.

    By torch's default convolutions there are not. Then one image alone and the same in a batch
    differ by a thousandth, since other kernels take batches of other sizes.
    """
    before = tf32_settings()
    for where, name, exact in _SETTINGS:
        setattr(where, name, exact)
    try:
        yield
    finally:
        for (where, name, _), value in zip(_SETTINGS, before, strict=True):
            setattr(where, name, value)
