"""Counting spikes while a network runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class _Tally:
    spikes: int = 0
    chances: int = 0
    fired: Tensor | None = None


@dataclass
class Monitor:
    """Spikes of every neuron layer over the calls made inside `SpikingNetwork.monitor()`.

    All steps count, those before the readout and those that COS looks at too. With `keep_counts`,
    `counts` holds the net count ``[B, *]`` of every neuron over the steps that were read in all of
    the calls, which then must be calls with one batch size.
    """

    keep_counts: bool = False
    counts: dict[str, Tensor] = field(default_factory=dict)
    _tallies: dict[str, _Tally] = field(default_factory=dict)

    def add(self, layer: str, train: Tensor, unread: int = 0) -> None:
        """Count a train ``[T, B, *]`` of spikes or PSPs, 0 where nothing fired.

        The first `unread` steps come before the readout.
        """
        tally = self._tallies.setdefault(layer, _Tally())
        fired = train != 0
        tally.spikes += int(fired.sum())
        tally.chances += train.numel()
        if self.keep_counts:
            count = train[unread:].sign().sum(0, dtype=torch.float32)
            before = self.counts.get(layer)
            self.counts[layer] = count if before is None else before + count
        ever = fired.flatten(0, 1).any(0)
        if tally.fired is not None and tally.fired.shape == ever.shape:
            ever |= tally.fired
        tally.fired = ever

    def firing_rates(self) -> dict[str, float]:
        """Per layer, spikes of either sign per neuron and time-step, 0 to 1."""
        return {
            name: t.spikes / t.chances if t.chances else 0.0 for name, t in self._tallies.items()
        }

    def firing_rate(self) -> float:
        """The same over all layers together, every neuron counting once."""
        chances = sum(t.chances for t in self._tallies.values())
        return sum(t.spikes for t in self._tallies.values()) / chances if chances else 0.0

    def never_fired(self) -> dict[str, float]:
        """Per layer, the share of neurons that fired for no image, 0 to 1."""
        return {
            name: float((~t.fired).to(torch.float64).mean())
            for name, t in self._tallies.items()
            if t.fired is not None and t.fired.numel()
        }
