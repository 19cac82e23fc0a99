"""Calibration data in whatever form it comes, as checked batches of images."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from spikeconv.calibrate.inputs import ONE, Arguments, Batch, batch_of, tensors_of

Calibration: TypeAlias = Tensor | Iterable[Any]

_BATCH = 64


class Batches:
    """One pass over calibration data, checked, on one device and in one dtype.

    A batch is a tensor where the network takes one input, else `Inputs`.

    Args:
        data: for one input, a tensor ``[N, *]``, or an iterable of tensors ``[B, *]`` or of pairs
            (tensor, label), as a DataLoader gives. For n inputs, a tuple of n tensors ``[N, *]``,
            or an iterable of sequences of n tensors, of n and a label, or of pairs (sequence of n,
            label). For any, dicts of tensors by the arguments' names, as all of the data or of a
            batch. Labels are not looked at. Batches of size 0 are skipped.
        like: gives the device, and the dtype of what is a floating-point tensor.
        arguments: names of the network's inputs.

    Attributes:
        names: of the inputs that the data gives, in the order of the network's arguments.
        first: the first batch.
        images: how many have been given so far.
        index: of the batch that was given last, as the data counts them.

    Raises:
        TypeError: data, or a batch, is neither.
        ValueError: there is no image, or one holds nothing, NaN or infinity.
    """

    def __init__(self, data: Calibration, like: Tensor, arguments: Arguments = ONE) -> None:
        self._total: int | None = None
        self._arguments = arguments
        self._like = like
        self.index = 0
        self._checked = self._check(self._raw(data))
        first = next(self._checked, None)
        if first is None:
            raise ValueError("convert: calibration is empty; give some images of the training set")
        self.first = first
        self.images = 0

    @property
    def names(self) -> tuple[str, ...]:
        return self._arguments.required

    def __iter__(self) -> Iterator[Batch]:
        """The batches, once, counting `images`."""
        for batch in itertools.chain([self.first], self._checked):
            self.images += len(batch)
            yield batch

    def shown(self, progress: bool) -> Iterator[Batch]:
        """The batches, once, behind a progress bar."""
        bar = tqdm(self, total=self._total, desc="calibrating", unit="batch", disable=not progress)
        return iter(bar)

    def _raw(self, data: Calibration) -> Iterable[Any]:
        """What is read batch by batch; tensors that are all of the data are cut into some."""
        whole = self._whole(data)
        if whole is not None:
            self._arguments, batch = whole
            if any(tensor.dim() == 0 for tensor in tensors_of(batch)):
                raise ValueError("convert: calibration must be a batch [N, ...], got a scalar")
            _check_strided("convert: calibration", tensors_of(batch))
            _check_lengths("convert: calibration", self._arguments.required, tensors_of(batch))
            self._total = -(-len(batch) // _BATCH)
            parts = batch.split(_BATCH) if len(batch) else ()
            return (tensors_of(part) for part in parts)
        if isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping):
            self._check_no_pair(data)
            try:
                self._total = len(cast(Sized, data))
            except TypeError:  # an iterator, or a DataLoader of one
                self._total = None
            return data
        hint = (
            "; give DataLoader(dataset, batch_size=64) of torch.utils.data"
            if isinstance(data, Dataset)
            else ""
        )
        raise TypeError(
            "convert: calibration must be a tensor or an iterable of tensors or of "
            f"(tensor, label) pairs, got {type(data).__name__}{hint}"
        )

    def _check_no_pair(self, data: Iterable[Any]) -> None:
        """Raise TypeError for a pair (images, labels): labels are no second batch."""
        pair = isinstance(data, tuple | list) and len(data) == 2 and len(self.names) == 1
        if not pair or not all(isinstance(value, Tensor) for value in data):
            return
        images, labels = data
        if images.is_floating_point() and not labels.is_floating_point():
            raise TypeError(
                "convert: calibration must be images or an iterable of batches, got a pair of a "
                f"{images.dtype} and a {labels.dtype} tensor, of which the second would be another "
                "batch; give the images without their labels"
            )

    def _whole(self, data: Calibration) -> tuple[Arguments, Batch] | None:
        """Data that is not yet cut into batches, and whose tensors it has; None if it is cut."""
        if isinstance(data, Mapping):
            if data and all(isinstance(value, Tensor) for value in data.values()):
                arguments = self._arguments.given(data, "convert: calibration")
                return arguments, batch_of(data[name] for name in arguments.required)
            return None
        n = len(self.names)
        if isinstance(data, Tensor):
            if n > 1:
                self._arguments.read(data, "convert: calibration")
            return self._arguments, data
        together = n > 1 and isinstance(data, tuple) and len(data) == n
        if together and all(isinstance(value, Tensor) for value in cast(tuple[Any, ...], data)):
            return self._arguments, batch_of(cast(tuple[Tensor, ...], data))
        return None

    def _check(self, raw: Iterable[Any]) -> Iterator[Batch]:
        wanted: list[Tensor] = []
        for index, item in enumerate(raw):
            what = f"convert: calibration batch {index}"
            tensors = self._tensors(item, what, first=index == 0)
            if any(tensor.dim() == 0 for tensor in tensors):
                raise ValueError(f"{what} must be [B, ...], got a scalar")
            _check_lengths(what, self.names, tensors)
            if len(tensors[0]) == 0:
                continue
            wanted = wanted or tensors
            for tensor, first in zip(tensors, wanted, strict=True):
                if not tensor.numel():
                    raise ValueError(f"{what} must have values, got shape {list(tensor.shape)}")
                if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                    raise ValueError(f"{what} holds NaN or infinity")
                if tensor.dim() != first.dim() or tensor.shape[1:2] != first.shape[1:2]:
                    raise ValueError(
                        f"{what} must be like the first, "
                        f"[{', '.join(['B', *map(str, first.shape[1:])])}], "
                        f"got shape {list(tensor.shape)}"
                    )
            self.index = index
            yield batch_of(self._ready(tensor) for tensor in tensors)

    def _tensors(self, item: Any, what: str, *, first: bool) -> list[Tensor]:
        """A batch's tensors, of which one at least is floating-point."""
        named = item[0] if isinstance(item, tuple | list) and item else item
        if first and isinstance(named, Mapping):
            self._arguments = self._arguments.given(named, what)
        tensors = list(self._arguments.read(item, what))
        if len(tensors) == 1:
            wrong = [t for t in tensors if not isinstance(t, Tensor) or not t.is_floating_point()]
            if wrong:
                kind = wrong[0].dtype if isinstance(wrong[0], Tensor) else type(wrong[0]).__name__
                several = isinstance(wrong[0], tuple | list)
                advice = (
                    "; a forward that takes several tensors needs an argument for each" * several
                )
                if isinstance(wrong[0], Tensor) and not wrong[0].is_complex():
                    advice = "; give images .float(), which a forward that does so itself takes too"
                raise TypeError(
                    f"{what} must be a floating-point tensor, or a pair that begins with one, "
                    f"got {kind}{advice}"
                )
            _check_strided(what, tensors)
            return tensors
        for name, value in zip(self.names, tensors, strict=True):
            if not isinstance(value, Tensor):
                raise TypeError(f"{what}: {name} must be a tensor, got {type(value).__name__}")
        if not any(tensor.is_floating_point() for tensor in tensors):
            raise TypeError(f"{what}: one of {', '.join(self.names)} must be floating-point")
        _check_strided(what, tensors)
        return tensors

    def _ready(self, tensor: Tensor) -> Tensor:
        dtype = self._like.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.detach().to(self._like.device, dtype)


def _check_strided(what: str, tensors: Sequence[Tensor]) -> None:
    for tensor in tensors:
        if tensor.layout is not torch.strided:
            raise TypeError(f"{what} must be dense, got {tensor.layout}; give tensor.to_dense()")
        if tensor.is_meta:
            raise TypeError(f"{what} must have values, got a tensor on the meta device")


def _check_lengths(what: str, names: Sequence[str], tensors: Sequence[Tensor]) -> None:
    sizes = [len(tensor) for tensor in tensors]
    if len(set(sizes)) > 1:
        each = ", ".join(f"{name} {size}" for name, size in zip(names, sizes, strict=True))
        raise ValueError(f"{what}: all inputs must be of the same images, got so many: {each}")
