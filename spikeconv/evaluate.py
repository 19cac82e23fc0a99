"""Accuracy of an ANN and of its spiking form at every time-step, in one pass over the images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence, Sized
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from spikeconv.convert import SpikingNetwork
from spikeconv.convert.timing import Timing
from spikeconv.early_exit import CONFIDENCES, ExitCounter, ExitCurve
from spikeconv.environment import machine, versions
from spikeconv.metrics import correct, steps_to_show

_EVERY_STEP = Timing()


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Args:
        ann: accuracy of the ANN, 0 to 1.
        snn: accuracy of the spiking network after step 1, ..., T, counting all steps.
        images: images that both were measured on.
        firing_rate: spikes per neuron and step, over all layers.
        firing_rates: the same for each layer.
        ann_seconds: time in the ANN's forward passes.
        snn_seconds: time in the spiking network's, counting of spikes included.
        timing: steps before the readout, and what they were for.
        early_exit: accuracy against mean steps where an image is answered once it is sure.
    """

    ann: float
    snn: list[float]
    images: int
    firing_rate: float
    firing_rates: dict[str, float]
    ann_seconds: float
    snn_seconds: float
    timing: Timing = _EVERY_STEP
    early_exit: ExitCurve | None = None

    @property
    def T(self) -> int:
        """Time-steps that were run."""
        return len(self.snn)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with versions and machine, as JSON takes it; accuracies come first."""
        return {
            "ann": self.ann,
            "snn": self.snn,
            "images": self.images,
            "T": self.T,
            "timing": {**asdict(self.timing), "before_readout": self.timing.before},
            "early_exit": None if self.early_exit is None else asdict(self.early_exit),
            "firing_rate": self.firing_rate,
            "firing_rates": self.firing_rates,
            "seconds": {"ann": self.ann_seconds, "snn": self.snn_seconds},
            "machine": machine(),
            "versions": versions(),
        }

    def __str__(self) -> str:
        lines = [f"{'':>8}  accuracy", f"{'ANN':>8}  {self.ann:8.2%}"]
        every = range(1, self.T + 1) if self.T <= 64 else steps_to_show(self.T)
        before = self.timing.before
        lines += [
            f"{f'T = {T}':>8}  {self.snn[T - 1]:8.2%}{'  before the readout' * (before >= T)}"
            for T in every
        ]
        if before:
            lines += ["", f"{before} of all steps are spent before the readout: {self.timing}"]
        if self.early_exit is not None:
            lines += ["", "early exit, once the answer is sure by", str(self.early_exit)]
        lines += ["", f"firing rate {self.firing_rate:.2%} of neurons at each step, by layer"]
        lines += [f"{rate:8.2%}  {layer}" for layer, rate in self.firing_rates.items()]
        lines += [
            "",
            f"{self.images:,} images: ANN {self.ann_seconds:.1f} s, "
            f"spiking network {self.snn_seconds:.1f} s "
            f"({self.images / self.snn_seconds:,.0f} images/s, spikes counted)",
        ]
        return "\n".join(lines)


@torch.inference_mode()
def evaluate(
    ann: nn.Module,
    snn: SpikingNetwork,
    loader: Iterable[tuple[Tensor, Tensor]],
    T: int | None = None,
    *,
    confidences: Sequence[float] = CONFIDENCES,
    progress: bool = True,
) -> Evaluation:
    """Measure an ANN and a spiking network on the same images.

    The accuracy after step t is that of the mean logits of the steps read so far, so one run of T
    steps gives all of them; it equals a run of t steps, because no neuron sees the future. With
    COS that holds from t = 2 * cos on: a shorter run has fewer steps to look at, so what stands
    between cos and 2 * cos is better than runs of so many steps. Before the readout it is what the
    network would answer then, as ``readout="all"`` says it.

    Args:
        ann: maps ``[B, *]`` to logits ``[B, classes]``; run in eval mode, its mode is restored.
        snn: what `spikeconv.convert` made of it, on the same device.
        loader: pairs of images ``[B, *]`` and int64 labels ``[B]``; moved to the network's device.
        T: time-steps, 1 or more; None for ``snn.T``.
        confidences: points of the early-exit curve, each above 0, at most 1.
        progress: show a progress bar.

    Returns:
        The accuracies, firing rates and times.

    Raises:
        ValueError: no images, T < 1, or labels that are not classes of the network.

    Example:
        >>> import spikeconv
        >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> x, labels = torch.rand(10, 4), torch.zeros(10, dtype=torch.int64)
        >>> snn = spikeconv.convert(ann, x, T=4, progress=False)
        >>> result = evaluate(ann, snn, [(x, labels)], progress=False)
        >>> (result.images, result.T, 0 <= result.snn[-1] <= 1)
        (10, 4, True)
    """
    T = snn.T if T is None else T
    if T < 1:
        raise ValueError(f"evaluate: T must be 1 or more, got {T}")
    device = next((p.device for p in ann.parameters()), torch.device("cpu"))
    ann_correct = torch.zeros((), dtype=torch.int64)
    snn_correct = torch.zeros(T, dtype=torch.int64)
    ann_seconds = snn_seconds = 0.0
    exits = ExitCounter(confidences)
    images = 0
    was_training = ann.training
    ann.eval()
    batches = len(loader) if isinstance(loader, Sized) else None
    try:
        with (
            snn.monitor() as monitor,
            tqdm(
                loader,
                "evaluate",
                batches,
                disable=not progress,
                unit="batch",
                # A log keeps every line that a terminal overwrites.
                mininterval=0.1 if sys.stderr.isatty() else 30,
            ) as bar,
        ):
            for x, labels in bar:
                x, labels = x.to(device), labels.to(device)
                start = _now(device)
                logits = ann(x)
                middle = _now(device)
                every_step = snn(x, T=T, readout="all")
                end = _now(device)
                ann_seconds += middle - start
                snn_seconds += end - middle
                ann_correct += correct(logits, labels).cpu()
                snn_correct += correct(every_step, labels).cpu()
                exits.add(every_step, labels)
                images += len(labels)
                bar.set_postfix_str(
                    f"ANN {ann_correct.item() / images:.2%}, "
                    f"T = {T} {snn_correct[-1].item() / images:.2%}",
                    refresh=False,
                )
    finally:
        ann.train(was_training)
    if images == 0:
        raise ValueError("evaluate: loader must give at least one image, got none")
    return Evaluation(
        ann=ann_correct.item() / images,
        snn=(snn_correct.double() / images).tolist(),
        images=images,
        firing_rate=monitor.firing_rate(),
        firing_rates=monitor.firing_rates(),
        ann_seconds=ann_seconds,
        snn_seconds=snn_seconds,
        timing=snn.timing,
        early_exit=exits.curve(),
    )


def _now(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()
