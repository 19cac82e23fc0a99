"""Memory of spike planes: taken for one result, given back when nobody holds that any more."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Plane:
    """Spikes of all neurons of one source, as csrc/cpu/int_plane.h lays them out.

    Attributes:
        memory: uint8, with borders and slack.
        images: B.
        steps: T.
    """

    def __init__(self, memory: Tensor, images: int, steps: int, free: list[Tensor]) -> None:
        self.memory, self.images, self.steps = memory, images, steps
        self._free = free

    def __del__(self) -> None:
        self._free.append(self.memory)


class Planes:
    """Planes of a compiled program.

    Borders are written when memory is made, and only spikes after that, so it serves the same
    source, number of images and number of steps again. A source keeps free memory of one such size.
    """

    def __init__(self, native: Any) -> None:
        self._native = native
        self._free: dict[int, tuple[tuple[int, int], list[Tensor]]] = {}

    def take(self, source: int, images: int, steps: int) -> Plane:
        """A plane whose spikes are still to be written."""
        size = (images, steps)
        kept, free = self._free.get(source, (None, []))
        if kept != size:
            free = []
            self._free[source] = (size, free)
        try:
            memory = free.pop()
        except IndexError:
            memory = self._native.new_plane(source, images, steps)
        return Plane(memory, images, steps, free)
