"""TF32: whether a GPU rounds the operands of float32 products to 10 bits of mantissa."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Since torch 2.9 operators have settings of their own, which say more than the older ones: where
# they have been set, reading an older one raises.
_NEWER: tuple[Any, ...] = (
    (
        torch.backends.cudnn.conv,
        torch.backends.cudnn.rnn,
        torch.backends.cuda.matmul,
        torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
    )
    if hasattr(torch.backends.cudnn, "conv")
    else ()
)


def tf32_settings() -> tuple[object, ...]:
    """What torch is told about float32 in convolutions and in matrix products on a GPU."""
    if _NEWER:
        return tuple(where.fp32_precision for where in _NEWER)
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@contextmanager
def without_tf32() -> Iterator[None]:
    """Inside, float32 is float32 on a GPU too, whatever torch is set to; for the whole process.

    By torch's default convolutions there are not. Then one image alone and the same in a batch
    differ by a thousandth, since other kernels take batches of other sizes.
    """
    newer = tf32_settings()
    try:
        older = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:
        older = None
    # By the older settings where they can be read, so that they can be read inside as well.
    if older is None:
        for where in _NEWER:
            where.fp32_precision = "ieee"
    else:
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if older is not None:
            torch.backends.cudnn.allow_tf32, precision = older
            torch.set_float32_matmul_precision(precision)
        for where, value in zip(_NEWER, newer, strict=bool(_NEWER)):
            where.fp32_precision = value
