"""What a network is called with: one tensor, or several that belong to the same images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor


class Inputs:
    """Several tensors ``[B, *]`` that belong to the same B images, counted and cut as one.

    Example:
        >>> pair = Inputs((torch.zeros(4, 2), torch.ones(4)))
        >>> len(pair), [part.shape for part in pair[:3].tensors]
        (4, [torch.Size([3, 2]), torch.Size([3])])
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.tensors = tuple(tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, images: slice | Tensor) -> Inputs:
        return Inputs(tensor[images] for tensor in self.tensors)

    def split(self, size: int) -> Iterator[Inputs]:
        """The same images, `size` at a time."""
        return (self[start : start + size] for start in range(0, len(self), size))


Batch: TypeAlias = Tensor | Inputs


def tensors_of(batch: Batch) -> tuple[Tensor, ...]:
    """The tensors of a batch, in the order in which the network takes them."""
    return batch.tensors if isinstance(batch, Inputs) else (batch,)


def images_of(batch: Batch) -> int:
    """How many images a batch has; in a traced graph, a symbol for it, which len cannot give."""
    return tensors_of(batch)[0].shape[0]


def batch_of(tensors: Iterable[Tensor]) -> Batch:
    """A batch of one tensor or several."""
    inputs = Inputs(tensors)
    return inputs.tensors[0] if len(inputs.tensors) == 1 else inputs


def joined(batches: Iterable[Batch]) -> Batch:
    """All images of some batches in one."""
    return batch_of(map(torch.cat, zip(*map(tensors_of, batches), strict=True)))


def image_shapes(batch: Batch) -> tuple[torch.Size, ...]:
    """The shape of one image's value of each input."""
    return tuple(tensor.shape[1:] for tensor in tensors_of(batch))


@contextmanager
def told_of_size(
    names: Sequence[str],
    batch: Batch,
    wanted: Sequence[Sequence[int]],
    errors: tuple[type[Exception], ...] = (RuntimeError,),
) -> Iterator[None]:
    """Of an error within, say that it comes of images of another size, where they are.

    Args:
        names: of the inputs, as the error's beginning.
        batch: what a network is run on inside the block.
        wanted: the shapes of an image's inputs in calibration.
        errors: what layers raise.

    Raises:
        ValueError: naming an input of another shape.
    """
    try:
        yield
    except errors as error:
        for name, x, shape in zip(names, tensors_of(batch), wanted, strict=True):
            if x.shape[1:] != tuple(shape) and not _of_memory(error):
                raise ValueError(
                    f"{name} must be like [{', '.join(['B', *map(str, shape)])}], got shape "
                    f"{list(x.shape)}, with which a layer of the network fails: {error}"
                ) from error
        raise


def _of_memory(error: Exception) -> bool:
    """Whether there was too little memory, of which only a GPU's has an error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


@dataclass(frozen=True)
class Arguments:
    """Names of the tensors that a network is called with.

    Attributes:
        required: those without a default.
        optional: those that may be given besides, by name.
    """

    required: tuple[str, ...] = ("x",)
    optional: tuple[str, ...] = ()

    def given(self, names: Iterable[str], what: str) -> Arguments:
        """The same where some are given by name: these are then all that are given.

        Raises:
            ValueError: beginning with `what`, about a name that is missing or not known.
        """
        names = set(names)
        known = (*self.required, *self.optional)
        if unknown := sorted(names - set(known)):
            raise ValueError(
                f"{what}: {', '.join(unknown)} is no argument of the network's forward, which "
                f"takes {', '.join(known)}; name each tensor as forward does, without labels (a "
                "forward that takes a dict needs an argument for each tensor instead)"
            )
        if missing := [name for name in self.required if name not in names]:
            raise ValueError(f"{what}: {', '.join(missing)} is missing")
        return Arguments(tuple(name for name in known if name in names))

    def read(self, item: Any, what: str) -> tuple[Any, ...]:
        """The values for the required names, from one item of the calibration data.

        For one name: the value, or a sequence that begins with it. For n: a sequence of n, of n and
        a label, or a pair of a sequence of n and a label. Of either: a dict.

        Raises:
            TypeError: beginning with `what`; the item is none of these.
        """
        names = self.required
        if isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], Mapping):
            item = item[0]
        if isinstance(item, Mapping):
            self.given(item, what)
            return tuple(item[name] for name in names)
        if len(names) == 1:
            return (item[0],) if isinstance(item, tuple | list) and item else (item,)
        values = item
        if isinstance(item, tuple | list) and item and isinstance(item[0], tuple | list):
            values = item[0]
        if isinstance(values, tuple | list) and len(names) <= len(values) <= len(names) + 1:
            return tuple(values[: len(names)])
        size = f" of {len(values)}" if isinstance(values, tuple | list) else ""
        raise TypeError(
            f"{what} must be a tuple of the {len(names)} inputs {', '.join(names)}, of these and a "
            f"label, a pair of such a tuple and a label, or a dict by their names, got "
            f"{type(values).__name__}{size}"
        )


ONE = Arguments()
