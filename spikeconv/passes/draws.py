"""Random numbers that a forward draws unseen by torch.fx, and that may decide how it goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Draws(TorchDispatchMode):
    """Inside the block, `seen` becomes true where this thread has torch draw by its own generator.

    What draws by one of its own may have seeded it; two calls tell.

    Args:
        apart: whether what is running now does not count.
    """

    def __init__(self, apart: Callable[[], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = False
        self._apart = apart

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        own = kwargs.get("generator") is not None
        if torch.Tag.nondeterministic_seeded in func.tags and not own and not self._apart():
            self.seen = True
        return func(*args, **kwargs)


class OtherGenerators:
    """The states of Python's and NumPy's generators, which all threads share."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy: Any = np.random.get_state(legacy=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OtherGenerators):
            return NotImplemented
        pairs = zip(self._numpy, other._numpy, strict=True)
        return self._python == other._python and all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    def restore(self) -> None:
        """Make the generators go on from here."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
