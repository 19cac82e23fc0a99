"""Who takes part in `gpu_networks.py`: one converted network in every form a GPU runs it in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from networks import Images, build_network
from rival_networks import rival_networks
from spikeconv.convert import NaiveSimulation, SpikingNetwork, convert

Network = Callable[[Tensor], Tensor]

# Shares of images that must get the same class: one that rounds to TF32 or to bfloat16 may decide
# otherwise where two classes are close.
SAME_CLASS = {"bf16": 0.9, "float32": 0.99}
PRECISIONS = ("int8", "int16")
FEW = 2


@dataclass(frozen=True)
class Entry:
    """A contestant.

    Attributes:
        run: from images to logits.
        wanted: which logits are right: ``"ann"``, ``"spiking"``, or a precision, whose logits must
            be those of its definition bit for bit.
        least: share of images with the right class, where they need not be the same bits.
        missing: whether it may be unable to run here.
    """

    run: Network
    wanted: str
    least: float = SAME_CLASS["float32"]
    missing: bool = False


@dataclass
class Contest:
    """A network on a GPU, its contestants for T steps, and what is right.

    Attributes:
        entries: by name.
        definitions: logits of the networks in integers, by precision.
        snn: what all of them simulate.
        skipped: who cannot be built, with the reason.
    """

    snn: SpikingNetwork
    entries: dict[str, Entry]
    definitions: dict[str, Network]
    skipped: dict[str, str] = field(default_factory=dict)


def convert_on(
    device: torch.device, model: str, image_size: int, calibration_images: int
) -> tuple[nn.Module, SpikingNetwork]:
    """The ANN and its spiking form, fitted and calibrated on synthetic images, on a device."""
    ann = build_network(model, image_size, device=device)
    calibration = Images(image_size).draw(calibration_images, seed=1)[0]
    batches = [batch.to(device) for batch in calibration.split(32)]
    return ann, convert(ann, batches, T=16, method="opi", progress=False)


def build_contest(
    ann: nn.Module, snn: SpikingNetwork, T: int, *, compiler: str, compiled: bool
) -> Contest:
    """All contestants for T steps.

    Args:
        ann, snn: on the device.
        T: time-steps.
        compiler: backend of torch.compile.
        compiled: those that are compiled, which takes minutes; otherwise those that are not.
    """
    snn.T = T
    contest = Contest(snn, {"ann": Entry(ann, "ann")}, {})
    contest.entries |= {name: one for name, one in _anns(ann, compiler).items()}
    _add_ours(contest, snn)
    rivals, missing = rival_networks(snn, compiler)
    contest.skipped |= missing
    for name, network in rivals.items():
        may_miss = not name.startswith("torch-loop") or name.endswith("-compiled")
        contest.entries[name] = Entry(network, "spiking", missing=may_miss)
        if name == "spikingjelly":
            last = partial(_on_channels_last, network)
            contest.entries[f"{name}-channels-last"] = Entry(last, "spiking", missing=True)
    contest.entries = {
        name: one
        for name, one in contest.entries.items()
        if name == "ann" or name.endswith("-compiled") == compiled
    }
    contest.skipped = {
        name: why for name, why in contest.skipped.items() if name.endswith("-compiled") == compiled
    }
    return contest


def right_classes(contest: Contest, x: Tensor) -> dict[str, Tensor]:
    """Classes of the plain simulation, and of the network run as an ANN."""
    return {
        "spiking": NaiveSimulation(contest.snn)(x).argmax(1),
        "ann": contest.snn.analog(x).argmax(1),
    }


def verdict(
    contest: Contest, right: dict[str, Tensor], name: str, x: Tensor, found: Tensor
) -> str | None:
    """What is wrong with a contestant's logits of a batch, or None."""
    one = contest.entries[name]
    if one.wanted in contest.definitions:
        few = x[:FEW]
        wrong = int((one.run(few) != contest.definitions[one.wanted](few)).sum())
        return f"{wrong} logits differ from their definition" if wrong else None
    share = (found.argmax(1) == right[one.wanted]).double().mean().item()
    if share >= one.least:
        return None
    return f"same class for {share:.1%} of {len(found)} images, wanted {one.least:.0%}"


def _anns(ann: nn.Module, compiler: str) -> dict[str, Entry]:
    """The ANN in the forms that a user would try; `ann` itself is float32 with TF32, eager."""

    def compile_it(network: Network) -> Network:
        made: Network = torch.compile(network, dynamic=False, backend=compiler)
        return made

    last: Network = _ChannelsLast(ann)
    mixed = partial(_in_bf16, last)
    low = SAME_CLASS["bf16"]
    return {
        "ann-channels-last": Entry(last, "ann"),
        "ann-bf16": Entry(mixed, "ann", low),
        "ann-compiled": Entry(compile_it(last), "ann", missing=True),
        "ann-bf16-compiled": Entry(partial(_in_bf16, compile_it(last)), "ann", low, True),
    }


class _ChannelsLast(nn.Module):
    """A network with its weights, and its images, in channels-last order."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        return _on_channels_last(self.network, x)


def _on_channels_last(network: Network, x: Tensor) -> Tensor:
    return network(x.contiguous(memory_format=torch.channels_last))


def _in_bf16(network: Network, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        return network(x).float()


def _add_ours(contest: Contest, snn: SpikingNetwork) -> None:
    forms: dict[str, Any] = {"spikeconv": snn}
    if hasattr(snn, "fuse"):
        for precision in PRECISIONS:
            forms[f"spikeconv-{precision}"] = snn.fuse(precision)
            contest.definitions[precision] = snn.fuse(precision, backend="reference")
    else:
        missing = "this version of spikeconv has no fuse"
        contest.skipped |= {f"spikeconv-{precision}": missing for precision in PRECISIONS}
    for name, network in forms.items():
        precision = name.removeprefix("spikeconv-")
        wanted = precision if precision in contest.definitions else "spiking"
        contest.entries[name] = Entry(network, wanted)
        if next(snn.parameters()).is_cuda:
            contest.entries[f"{name}-graph"] = Entry(_Graphed(network), wanted)
        else:
            contest.skipped[f"{name}-graph"] = "CUDA graphs need a GPU"


class _Graphed:
    """A network's graph, made at the first call."""

    def __init__(self, network: SpikingNetwork) -> None:
        self.network = network
        self.graph: Any = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.graph is None:
            self.graph = self.network.graph(x)
        logits: Tensor = self.graph(x)
        return logits
