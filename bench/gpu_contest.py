"""Who takes part in `gpu_networks.py`: one converted network in every form a GPU runs it in."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from contestants import (
    IMAGES_IN_INTEGERS,
    Network,
    differing,
    is_compiled,
    too_many,
)
from rival_networks import rival_networks, spikingjelly_default
from spikeconv.convert import NaiveSimulation, SpikingNetwork
from spikeconv.fuse.form import PRECISIONS

# Of the images that must get the same class. Other kernels sum in another order: SpikingJelly's
# neurons, which divide by the threshold, gave 1 or 2 of 64 images of a random ResNet-18 another one
# on an H200. Who rounds to bfloat16 may decide otherwise wherever two classes are close.
SAME_CLASS_GPU = 0.95
SAME_CLASS_BF16 = 0.9


@dataclass(frozen=True)
class Entry:
    """A contestant.

    Attributes:
        run: from images to logits.
        wanted: which logits are right: ``"ann"``, ``"spiking"``, or a precision, whose logits must
            be those of its definition bit for bit.
        least: share of images with the right class, where they need not be the same bits.
        may_be_missing: as of a `gate.Contestant`.
    """

    run: Network
    wanted: str
    least: float = SAME_CLASS_GPU
    may_be_missing: bool = False


@dataclass
class GpuContest:
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


def build_contest(
    ann: nn.Module, snn: SpikingNetwork, T: int, *, compiler: str, compiled: bool
) -> GpuContest:
    """All contestants for T steps.

    Args:
        ann, snn: on the device.
        T: time-steps.
        compiler: backend of torch.compile.
        compiled: those that are compiled, which takes minutes; otherwise those that are not.
    """
    snn.T = T
    contest = GpuContest(snn, {"ann": Entry(ann, "ann")}, {})
    contest.entries |= _anns(ann, compiler)
    _add_ours(contest, snn)
    rivals, missing = rival_networks(snn, compiler)
    contest.skipped |= missing
    for name, network in rivals.items():
        may_miss = name != "torch-loop"
        contest.entries[name] = Entry(network, "spiking", may_be_missing=may_miss)
        if name == "spikingjelly":
            last = partial(_on_channels_last, network)
            contest.entries[f"{name}-channels-last"] = Entry(last, "spiking", may_be_missing=True)
            default = spikingjelly_default(snn)
            contest.entries[f"{name}-default"] = Entry(default, "spiking", may_be_missing=True)
    contest.entries = {
        name: one
        for name, one in contest.entries.items()
        if name == "ann" or is_compiled(name) == compiled
    }
    contest.skipped = {
        name: why for name, why in contest.skipped.items() if is_compiled(name) == compiled
    }
    return contest


def right_classes(contest: GpuContest, x: Tensor) -> dict[str, Tensor]:
    """Classes of the plain simulation, and of the network run as an ANN."""
    return {
        "spiking": NaiveSimulation(contest.snn)(x).argmax(1),
        "ann": contest.snn.analog(x).argmax(1),
    }


def verdict(
    contest: GpuContest, right: dict[str, Tensor], name: str, x: Tensor, found: Tensor
) -> str | None:
    """What is wrong with a contestant's logits of a batch, or None."""
    one = contest.entries[name]
    if one.wanted in contest.definitions:
        few, plain = x[:IMAGES_IN_INTEGERS], contest.entries.get(name.removesuffix("-graph"), one)
        with _untuned():  # which need not be timed for a batch of this size, and are not those of x
            return differing(one.run(few), contest.definitions[one.wanted](few)) or differing(
                found, plain.run(x)
            )
    return too_many(int((found.argmax(1) != right[one.wanted]).sum()), len(found), one.least)


@contextmanager
def _untuned() -> Iterator[None]:
    """Inside, integer layers run with the tiles that are taken untried."""
    before = os.environ.get("SPIKECONV_TUNE")
    os.environ["SPIKECONV_TUNE"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SPIKECONV_TUNE"]
        else:
            os.environ["SPIKECONV_TUNE"] = before


def _anns(ann: nn.Module, compiler: str) -> dict[str, Entry]:
    """The ANN in the forms that a user would try; `ann` itself is float32 with TF32, eager."""

    def compile_it(network: Network) -> Network:
        made: Network = torch.compile(network, dynamic=False, backend=compiler)
        return made

    last: Network = _ChannelsLast(ann)
    mixed = partial(_in_bf16, last)
    return {
        "ann-channels-last": Entry(last, "ann"),
        "ann-bf16": Entry(mixed, "ann", SAME_CLASS_BF16),
        "ann-compiled": Entry(compile_it(last), "ann", may_be_missing=True),
        "ann-bf16-compiled": Entry(
            partial(_in_bf16, compile_it(last)), "ann", SAME_CLASS_BF16, may_be_missing=True
        ),
    }


class _ChannelsLast(nn.Module):
    """A network with its weights, and its images, in channels-last order."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(  # type: ignore[call-overload]
            memory_format=torch.channels_last
        )

    def forward(self, x: Tensor) -> Tensor:
        return _on_channels_last(self.network, x)


def _on_channels_last(network: Network, x: Tensor) -> Tensor:
    return network(x.contiguous(memory_format=torch.channels_last))


def _in_bf16(network: Network, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        return network(x).float()


def _add_ours(contest: GpuContest, snn: SpikingNetwork) -> None:
    forms: dict[str, Any] = {"spikeconv": snn}
    for precision in PRECISIONS:
        forms[f"spikeconv-{precision}"] = snn.fuse(precision)
        contest.definitions[precision] = snn.fuse(precision, backend="reference")
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
