"""Counting spikes while a network runs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Size, Tensor

from spikeconv.calibrate.inputs import Batch, batch_of, image_shapes, tensors_of

# So many spikes at most fit into a byte, in which they are counted twenty times as fast.
_BYTE = 255


@dataclass
class Tally:
    """What one layer fired for images of one size.

    Attributes:
        spikes: of either sign, all steps counted.
        chances: neurons times images times steps.
        steps: images times steps whose spikes were sent on.
        sent: spikes that were sent on, of each neuron, int64 ``[*]``; None before the first.
        fired: which neurons fired at all, bool ``[*]``; None likewise.
    """

    spikes: int = 0
    chances: int = 0
    steps: int = 0
    sent: Tensor | None = None
    fired: Tensor | None = None


@dataclass
class Seen:
    """What was run for images of one size.

    Attributes:
        images: how many there were.
        inputs: images whose values before the first neuron were computed: in a stream, for each
            input that it was fed.
        answers: images whose values after the last neuron were: in a stream, at each step.
        example: one of them, of all inputs; None before the first.
        tallies: of each layer.
    """

    images: int = 0
    inputs: int = 0
    answers: int = 0
    example: Batch | None = None
    tallies: dict[str, Tally] = field(default_factory=dict)


@dataclass
class Monitor:
    """Spikes of every neuron layer over the calls made inside `SpikingNetwork.monitor()`.

    All steps count, those before the readout and those that COS looks at too. With `keep_counts`,
    `counts` holds the net count ``[B, *]`` of every neuron over the steps that were read in all of
    the calls, which then must be calls with one batch size.

    Attributes:
        seen: for each size of images, what was run; the sizes are those of all inputs.
    """

    keep_counts: bool = False
    counts: dict[str, Tensor] = field(default_factory=dict)
    seen: dict[tuple[Size, ...], Seen] = field(default_factory=dict)

    def begin(self, x: Batch) -> CountedRun:
        """A run begins, with these images."""
        seen = self.seen.setdefault(image_shapes(x), Seen())
        seen.images += len(x)
        seen.inputs += len(x)
        seen.answers += len(x)
        if seen.example is None and len(x):
            seen.example = batch_of(tensor[:1].clone() for tensor in tensors_of(x))
        return CountedRun(self, seen)

    def totals(self) -> dict[str, tuple[int, int]]:
        """Per layer, spikes of either sign and the chances to fire: neurons, images and steps."""
        found: dict[str, tuple[int, int]] = {}
        for seen in self.seen.values():
            for name, tally in seen.tallies.items():
                spikes, chances = found.get(name, (0, 0))
                found[name] = spikes + tally.spikes, chances + tally.chances
        return found

    def firing_rates(self) -> dict[str, float]:
        """Per layer, spikes of either sign per neuron and time-step, 0 to 1."""
        return {name: rate([pair]) for name, pair in self.totals().items()}

    def firing_rate(self) -> float:
        """The same over all layers together, every neuron counting once."""
        return rate(self.totals().values())

    def never_fired(self) -> dict[str, float]:
        """Per layer, the share of neurons that fired for no image, 0 to 1."""
        fired: dict[str, list[Tensor]] = {}
        for seen in self.seen.values():
            for name, tally in seen.tallies.items():
                if tally.fired is not None and tally.fired.numel():
                    fired.setdefault(name, []).append(tally.fired.flatten())
        return {
            name: float((~torch.cat(parts)).to(torch.float64).mean())
            for name, parts in fired.items()
        }


@dataclass(frozen=True)
class CountedRun:
    """What a monitor counts of one run, beside which others may go on: a stream, between calls."""

    monitor: Monitor
    seen: Seen

    def go_on(self, images: int, *, fed: bool) -> None:
        """A stream that began goes on: it answers once more, and was `fed` other inputs, or not."""
        self.seen.inputs += images * fed
        self.seen.answers += images

    def add(self, layer: str, train: Tensor, unread: int = 0, *, sent: bool = True) -> None:
        """Count a train ``[T, B, *]`` of spikes or PSPs, 0 where nothing fired.

        The first `unread` steps come before the readout. What is not `sent` on only the layer
        itself looks at.
        """
        tally = self.seen.tallies.setdefault(layer, Tally())
        fired = (train != 0).flatten(0, 1)
        by_neuron = torch.zeros(fired.shape[1:], dtype=torch.int64, device=fired.device)
        for part in fired.split(_BYTE):
            by_neuron += part.sum(0, dtype=torch.uint8)
        tally.spikes += int(by_neuron.sum())
        tally.chances += train.numel()
        if sent:
            tally.steps += len(fired)
            tally.sent = by_neuron if tally.sent is None else tally.sent + by_neuron
        ever = by_neuron > 0
        tally.fired = ever if tally.fired is None else tally.fired | ever
        if self.monitor.keep_counts:
            counts = self.monitor.counts
            count = train[unread:].sign().sum(0, dtype=torch.float32)
            counts[layer] = counts[layer] + count if layer in counts else count


# The blocks that are open, with their threads, by the identity of the network, outer ones first.
# They are not kept in the network, where other threads and copies would find them, too; nor in
# a `threading.local`, of which a network compiled outside of blocks sees no change.
_open: dict[int, tuple[tuple[int, Monitor], ...]] = {}
_changing = threading.Lock()


@contextmanager
def monitoring(network: object, monitor: Monitor) -> Iterator[Monitor]:
    """Let a monitor count the calls of a network that this thread makes inside the block."""
    key = id(network)  # which is nobody else's while the block holds the network
    with _changing:
        _open[key] = (*_open.get(key, ()), (threading.get_ident(), monitor))
    try:
        yield monitor
    finally:
        with _changing:  # blocks need not end in the order in which they began
            left = tuple(block for block in _open[key] if block[1] is not monitor)
            if left:
                _open[key] = left
            else:
                del _open[key]


def monitor_of(network: object) -> Monitor | None:
    """What counts a network's calls in this thread: the monitor of its innermost block."""
    if id(network) not in _open:  # all that a compiled network reads outside of its blocks
        return None
    thread = threading.get_ident()
    for opened_by, monitor in reversed(_open.get(id(network), ())):
        if opened_by == thread:
            return monitor
    return None


def rate(totals: Iterable[tuple[int, int]]) -> float:
    """Spikes per chance over some layers together, 0 to 1; 0 where there was no chance."""
    pairs = list(totals)
    chances = sum(chances for _, chances in pairs)
    return sum(spikes for spikes, _ in pairs) / chances if chances else 0.0
