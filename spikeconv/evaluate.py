"""Accuracy of an ANN and of its spiking form at every time-step, in one pass over the images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from spikeconv.convert import SpikingNetwork
from spikeconv.early_exit import CONFIDENCES, ExitCounter, ExitCurve
from spikeconv.environment import machine, versions
from spikeconv.labelled import labelled
from spikeconv.metrics import correct, steps_to_show
from spikeconv.network.calls import given
from spikeconv.network.monitor import Monitor, rate
from spikeconv.network.operations import Operations
from spikeconv.network.timing import Timing, check_steps
from spikeconv.processes import ALONE, Processes

_EVERY_STEP = Timing()


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Args:
        ann: accuracy of the ANN, 0 to 1.
        snn: accuracy of the spiking network after step 1, ..., T, counting all steps.
        images: images that both were measured on.
        firing_rate: spikes per neuron and step, over all layers.
        firing_rates: the same for each layer, by its key in `SpikingNetwork.neurons`.
        ann_seconds: time in the ANN's forward passes, of the slowest process.
        snn_seconds: time in the spiking network's, counting of spikes included; likewise.
        timing: steps before the readout, and what they were for.
        early_exit: accuracy against mean steps where an image is answered once it is sure.
        operations: of the layers between the neurons, and an estimate of the energy.
        processes: how many measured together.
        layers: where each key of `firing_rates` stands in the network that was converted.
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
    operations: Operations | None = None
    processes: int = 1
    layers: Mapping[str, str] = field(default_factory=dict)

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
            "layers": dict(self.layers),
            "operations": None if self.operations is None else self.operations.to_dict(),
            "processes": self.processes,
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
        rates = self.firing_rates.items()
        lines += [f"{rate:8.2%}  {self.layers.get(name, name)}" for name, rate in rates]
        if self.operations is not None:
            lines += ["", self.operations.summary()]
        together = f" in {self.processes} processes" if self.processes > 1 else ""
        lines += [
            "",
            f"{self.images:,} images{together}: ANN {self.ann_seconds:.1f} s, "
            f"spiking network {self.snn_seconds:.1f} s "
            f"({self.images / self.snn_seconds:,.0f} images/s, spikes counted)",
        ]
        return "\n".join(lines)


@torch.inference_mode()
def evaluate(
    ann: nn.Module,
    snn: SpikingNetwork,
    loader: Iterable[Any],
    T: int | None = None,
    *,
    confidences: Sequence[float] = CONFIDENCES,
    progress: bool = True,
    group: Processes = ALONE,
) -> Evaluation:
    """Measure an ANN and a spiking network on the same images.

    The accuracy after step t is that of the mean logits of the steps read so far, so one run of T
    steps gives all of them; it equals a run of t steps, because no neuron sees the future. With
    COS that holds from t = srp + 2 * cos on: a shorter run has fewer steps to look at, so what
    stands between srp + cos and srp + 2 * cos is better than runs of so many steps. Before the
    readout it is what the network would answer then, as ``readout="all"`` says it.

    Several processes can share the images: each gives the same networks and batches of its own, and
    all get the same result, which is that of all batches in one process, exactly: what is summed up
    are counts. For that the batches must be the same ones, dealt out whole
    (`spikeconv.data.Batches.share`), because a layer may give an image other bits in a batch of
    another size; a `DistributedSampler` would repeat images until all shares are equal.

    Args:
        ann: maps images to logits ``[B, classes]``; run in eval mode, its mode is restored.
        snn: what `spikeconv.convert` made of it, on the same device.
        loader: pairs of images ``[B, *]`` and labels ``[B]``; moved to the network's device.
            Of a network of n inputs, pairs of a tuple of n tensors, or of a dict of them by the
            names of forward's arguments, and labels. Of several processes, this one's share, which
            may be empty.
        T: time-steps, 1 to 2^24; None for ``snn.T``.
        confidences: points of the early-exit curve, each above 0, at most 1.
        progress: show a progress bar, in the first process.
        group: the processes that measure together, as `spikeconv.processes.processes` gives them;
            without, this one alone.

    Returns:
        The accuracies, firing rates, operations and times.

    Raises:
        TypeError: naming the argument.
        ValueError: no images, T < 1, labels that are not classes of the network, or processes with
            different networks, T or confidences.

    Example:
        >>> import spikeconv
        >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> x, labels = torch.rand(10, 4), torch.zeros(10, dtype=torch.int64)
        >>> snn = spikeconv.convert(ann, x, T=4, progress=False)
        >>> result = evaluate(ann, snn, [(x, labels)], progress=False)
        >>> (result.images, result.T, 0 <= result.snn[-1] <= 1)
        (10, 4, True)
    """
    if not isinstance(getattr(snn, "_orig_mod", snn), SpikingNetwork):  # torch.compile keeps it so
        hint = "; the ANN comes first" if isinstance(ann, SpikingNetwork) else ""
        raise TypeError(f"evaluate: snn must be a SpikingNetwork, got {type(snn).__name__}{hint}")
    T = snn.T if T is None else check_steps("evaluate", "T", T)
    count = _Count(ann, snn, T, confidences)
    if group.count > 1:
        options = (T, snn.timing, count.exits.confidences)
        group.check_same("evaluate: T, timing and confidences", repr(options).encode())
        group.check_same("evaluate: the ANN", _bits(ann))
        group.check_same("evaluate: the spiking network", _bits(snn))
    was_training = ann.training
    ann.eval()
    try:
        with snn.monitor() as monitor:
            count.run(loader, progress and group.first)
    finally:
        ann.train(was_training)
    return count.result(monitor, group)


class _Count:
    """What is counted while batches go by."""

    def __init__(
        self, ann: nn.Module, snn: SpikingNetwork, T: int, confidences: Sequence[float]
    ) -> None:
        self.ann = ann
        self.snn = snn
        self.T = T
        self.device = next((p.device for p in ann.parameters()), torch.device("cpu"))
        self.exits = ExitCounter(confidences, "evaluate")
        self.images = 0
        # Right answers of the ANN, then of the spiking network after each step.
        self.correct = torch.zeros(1 + T, dtype=torch.int64)
        self.seconds = torch.zeros(2, dtype=torch.float64)

    def run(self, loader: Iterable[Any], progress: bool) -> None:
        """Run both networks on all batches."""
        with tqdm(
            loader,
            "evaluate",
            len(loader) if isinstance(loader, Sized) else None,
            disable=not progress,
            unit="batch",
            # A log keeps every line that a terminal overwrites.
            mininterval=0.1 if sys.stderr.isatty() else 30,
        ) as bar:
            for index, batch in enumerate(bar):
                self._add(*labelled(batch, f"evaluate: loader batch {index}", self.device))
                ann, snn = (self.correct[[0, -1]] / self.images).tolist()
                bar.set_postfix_str(f"ANN {ann:.2%}, T = {self.T} {snn:.2%}", refresh=False)

    def _add(self, inputs: Sequence[Tensor], named: Mapping[str, Tensor], labels: Tensor) -> None:
        x = given(self.snn.program, inputs, named, next(self.snn.layers.parameters(), None))
        start = _now(self.device)
        logits = self.ann(*inputs, **named)
        middle = _now(self.device)
        every_step = self.snn(x, T=self.T, readout="all")
        end = _now(self.device)
        for name, output in (("ann", logits), ("snn", every_step)):
            if not isinstance(output, Tensor):
                raise TypeError(
                    f"evaluate: {name} must return logits [B, classes], got a "
                    f"{type(output).__name__}; of a network with several outputs, convert a module "
                    "that returns these alone"
                )
        self.seconds += torch.tensor([middle - start, end - middle], dtype=torch.float64)
        self.correct[0] += correct(logits, labels, "evaluate").cpu()
        self.correct[1:] += correct(every_step, labels, "evaluate").cpu()
        self.exits.add(every_step, labels)
        self.images += len(labels)

    def result(self, monitor: Monitor, group: Processes) -> Evaluation:
        """What all processes have counted."""
        self.exits.add_up(group.sum)
        images = self.exits.images
        if images == 0:
            raise ValueError("evaluate: loader must give at least one image, got none")
        ann, *snn = (group.sum(self.correct).double() / images).tolist()
        seen = monitor.totals()
        layers = {step.name: step.label for step in self.snn.program.neurons()}
        fired = torch.tensor([seen.get(name, (0, 0)) for name in layers], dtype=torch.int64)
        totals = [(int(spikes), int(chances)) for spikes, chances in group.sum(fired)]
        ann_seconds, snn_seconds = group.largest(self.seconds).tolist()
        return Evaluation(
            ann=ann,
            snn=snn,
            images=images,
            firing_rate=rate(totals),
            firing_rates={name: rate([pair]) for name, pair in zip(layers, totals, strict=True)},
            ann_seconds=ann_seconds,
            snn_seconds=snn_seconds,
            timing=self.snn.timing,
            early_exit=self.exits.curve(),
            operations=self.snn.operations(monitor).added_up(group.sum),
            processes=group.count,
            layers=layers,
        )


def _bits(module: nn.Module) -> bytes:
    """All numbers that a network computes with."""
    parts = []
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        bits = sha256(flat.numpy().tobytes()).hexdigest()
        parts.append(f"{name} {tensor.dtype} {list(tensor.shape)} {bits}")
    return "\n".join(parts).encode()


def _now(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()
