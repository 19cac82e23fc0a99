"""Calibration data in whatever form it comes, as checked batches of images."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor
from tqdm import tqdm

Calibration: TypeAlias = Tensor | Iterable[Any]

_BATCH = 64


class Batches:
    """One pass over calibration data, checked, on one device and in one dtype.

    Args:
        data: a tensor ``[N, *]``, or an iterable of tensors ``[B, *]`` or of pairs (tensor, label),
            as a DataLoader gives. Labels are not looked at. Batches of size 0 are skipped.
        like: gives device and dtype.

    Raises:
        TypeError: data, or a batch, is neither.
        ValueError: there is no image, or one holds NaN or infinity.
    """

    def __init__(self, data: Calibration, like: Tensor) -> None:
        if isinstance(data, Tensor):
            if data.dim() == 0:
                raise ValueError("convert: calibration must be a batch [N, ...], got a scalar")
            self._total: int | None = -(-len(data) // _BATCH)
            raw: Iterable[Any] = data.split(_BATCH) if len(data) else ()
        elif isinstance(data, Iterable) and not isinstance(data, str | bytes | dict):
            raw = data
            try:
                self._total = len(cast(Sized, data))
            except TypeError:  # an iterator, or a DataLoader of one
                self._total = None
        else:
            raise TypeError(
                "convert: calibration must be a tensor or an iterable of tensors or of "
                f"(tensor, label) pairs, got {type(data).__name__}"
            )
        self._like = like
        self._checked = self._check(raw)
        first = next(self._checked, None)
        if first is None:
            raise ValueError("convert: calibration is empty; give some images of the training set")
        self.first = first
        self.images = 0

    def __iter__(self) -> Iterator[Tensor]:
        """The batches, once, counting `images`."""
        for batch in itertools.chain([self.first], self._checked):
            self.images += len(batch)
            yield batch

    def shown(self, progress: bool) -> Iterator[Tensor]:
        """The batches, once, behind a progress bar."""
        bar = tqdm(self, total=self._total, desc="calibrating", unit="batch", disable=not progress)
        return iter(bar)

    def _check(self, raw: Iterable[Any]) -> Iterator[Tensor]:
        wanted: tuple[int, ...] = ()
        for index, item in enumerate(raw):
            images = item[0] if isinstance(item, tuple | list) and item else item
            if not isinstance(images, Tensor) or not images.is_floating_point():
                kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
                raise TypeError(
                    f"convert: calibration batch {index} must be a floating-point tensor, or a "
                    f"pair that begins with one, got {kind}"
                )
            if images.dim() == 0:
                raise ValueError(
                    f"convert: calibration batch {index} must be [B, ...], got a scalar"
                )
            if len(images) == 0:
                continue
            if not bool(torch.isfinite(images).all()):
                raise ValueError(f"convert: calibration batch {index} holds NaN or infinity")
            wanted = wanted or tuple(images.shape)
            if images.dim() != len(wanted) or images.shape[1:2] != wanted[1:2]:
                raise ValueError(
                    f"convert: calibration batch {index} must be like the first, "
                    f"[B, {', '.join(map(str, wanted[1:]))}], got shape {list(images.shape)}"
                )
            yield images.detach().to(self._like.device, self._like.dtype)
