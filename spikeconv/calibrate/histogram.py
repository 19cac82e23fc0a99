"""What calibration remembers of a layer's currents: a histogram per channel, streamed."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 2048
# Values counted at once; bounds the memory of an update.
_AT_ONCE = 2**23
_NEVER = -(2**20)
# Ranges below 2^-100 count as this one, so that a bin's width and its inverse are normal floats.
_LEAST = -100


class ChannelHistogram:
    """Histogram of the positive currents of every channel, over a range that grows by doubling.

    Channel c has `BINS` equal bins over (0, 2^e], each open on the left, and e is the least integer
    with all its values below 2^e; when e grows, neighbouring bins are merged. Scaling by powers of
    two is exact, so the counts do not depend on the order or the sizes of the batches, and no pass
    over the data is needed to find the range. At least half the bins lie below the largest value.
    (Of currents 2^100 times smaller than the largest some may count as zero.)

    Attributes:
        counts: int64 ``[C, BINS]``.
        exponent: int64 ``[C]``, e; very negative where nothing positive was seen.
        largest: float32 ``[C]``, the largest current, 0 where none was positive.
        seen: int64 ``[C]``, all currents, positive or not.
        total: float64 ``[C]``, the sum of all currents, negative ones too.
        squares: float64 ``[C]``, the sum of their squares. Both sums depend on the order of the
            batches by the rounding of float64, about 1e-16 of them, and by no more.
    """

    def __init__(self, channels: int, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(channels, BINS, dtype=torch.int64, device=device)
        self.exponent = torch.full((channels,), _NEVER, dtype=torch.int64, device=device)
        self.largest = torch.zeros(channels, dtype=torch.float32, device=device)
        self.seen = torch.zeros(channels, dtype=torch.int64, device=device)
        self.total = torch.zeros(channels, dtype=torch.float64, device=device)
        self.squares = torch.zeros(channels, dtype=torch.float64, device=device)

    def update(self, currents: Tensor) -> None:
        """Count ``[B, C, *]``; ValueError where one is NaN or infinite."""
        samples = max(1, _AT_ONCE // max(1, currents[0].numel()))
        for part in currents.split(samples):
            rows = part.transpose(0, 1).reshape(part.shape[1], -1).float()
            self._sum(rows)
            self._grow(rows.amax(1).clamp(min=0))
            self._count(rows)

    def _sum(self, rows: Tensor) -> None:
        wide = rows.double()
        total = wide.sum(1)
        # Of finite float32 values no sum in float64 overflows.
        if not bool(torch.isfinite(total).all()):
            raise ValueError("a current is NaN or infinite")
        self.total += total
        self.squares += wide.square_().sum(1)

    def _grow(self, largest: Tensor) -> None:
        self.largest = torch.maximum(self.largest, largest)
        exponent = torch.frexp(largest).exponent.long().clamp(min=_LEAST)
        needed = torch.where(largest > 0, exponent, _NEVER)
        self._rescale(torch.maximum(self.exponent, needed))

    def _rescale(self, exponent: Tensor) -> None:
        shift = (exponent - self.exponent).clamp(max=BINS.bit_length())
        moved = shift > 0
        if bool(moved.any()):
            bins = torch.arange(BINS, device=exponent.device) >> shift[moved].unsqueeze(1)
            merged = torch.zeros_like(self.counts[moved])
            self.counts[moved] = merged.scatter_add_(1, bins, self.counts[moved])
        self.exponent = exponent

    def _count(self, rows: Tensor) -> None:
        channels, values = rows.shape
        # Row c counts into [c * (BINS + 1), (c + 1) * (BINS + 1)); its first place takes the rest.
        places = (rows * (1 / self.width()).unsqueeze(1)).clamp_(0, BINS).ceil_().long()
        places += torch.arange(channels, device=rows.device).unsqueeze(1) * (BINS + 1)
        counted = torch.bincount(places.flatten(), minlength=channels * (BINS + 1))
        self.counts += counted.view(channels, BINS + 1)[:, 1:]
        self.seen += values

    def merged(self) -> ChannelHistogram:
        """One histogram of all channels together."""
        common = ChannelHistogram(len(self.seen), self.seen.device)
        common.counts, common.exponent = self.counts.clone(), self.exponent
        common._rescale(self.exponent.max().expand_as(self.exponent))
        whole = ChannelHistogram(1, self.seen.device)
        whole.counts = common.counts.sum(0, keepdim=True)
        whole.exponent = self.exponent.max().view(1)
        whole.largest = self.largest.max().view(1)
        whole.seen = self.seen.sum().view(1)
        whole.total = self.total.sum().view(1)
        whole.squares = self.squares.sum().view(1)
        return whole

    def mean(self) -> Tensor:
        """Mean of all currents, negative ones too: float64 ``[C]``."""
        return self.total / self.seen.clamp(min=1)

    def deviation(self) -> Tensor:
        """Standard deviation of all currents: float64 ``[C]``.

        To about 1e-8 of the mean: what varies less reads as 0, or as no more than that.
        """
        variance = self.squares / self.seen.clamp(min=1) - self.mean().square()
        return variance.clamp_(min=0).sqrt_()

    def width(self) -> Tensor:
        """Bin width per channel ``[C]``, a power of two."""
        exponent = self.exponent.clamp(min=_LEAST) - (BINS.bit_length() - 1)
        return torch.ldexp(torch.ones_like(self.largest), exponent)

    def centres(self) -> Tensor:
        """Bin centres ``[C, BINS]``."""
        index = torch.arange(BINS, dtype=torch.float32, device=self.seen.device) + 0.5
        return index * self.width().unsqueeze(1)
