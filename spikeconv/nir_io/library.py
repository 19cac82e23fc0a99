"""The `nir` package, which is optional, and what this package needs to say about its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def import_nir(function: str) -> Any:
    """The `nir` package.

    Raises:
        ImportError: it is not installed; beginning with the function that needs it.
    """
    try:
        import nir
    except ModuleNotFoundError as error:
        raise ImportError(f"{function}: NIR graphs need nir: pip install nir") from error
    return nir


def as_array(tensor: Tensor) -> Any:
    """A tensor's values as numpy has them; one number as a scalar, which nir can always write."""
    array = tensor.detach().cpu().numpy()
    return array if array.ndim else array[()]


def as_tensor(array: Any) -> Tensor:
    """An own copy of an array's values.

    Raises:
        TypeError, ValueError: they are no numbers.
    """
    return torch.from_numpy(np.array(array))


def as_float(array: Any) -> Tensor:
    """An own copy of numbers, in float32.

    Raises:
        TypeError, ValueError, OverflowError: they are no real numbers.
    """
    if array.is_complex() if isinstance(array, Tensor) else np.iscomplexobj(array):
        raise TypeError("it has complex numbers, which must be real")
    if isinstance(array, Tensor):
        return array.detach().to("cpu", torch.float32, copy=True)
    return torch.from_numpy(np.array(array, dtype=np.float32))


def as_sizes(value: Any) -> Any:
    """A number for all dimensions, one for each, or the name of a padding."""
    if isinstance(value, str | bytes):
        return value.decode() if isinstance(value, bytes) else value
    sizes = tuple(int(size) for size in np.atleast_1d(np.asarray(value)))
    return sizes[0] if len(sizes) == 1 else sizes
