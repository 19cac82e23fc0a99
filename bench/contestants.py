"""Who takes part in `throughput.py`: the same converted network in every form, checked first.

What holds on a GPU too, `gpu_contest.py` takes from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from gate import Contestant, Gate
from networks import Images, build_network
from rival_networks import rival_networks
from spikeconv.convert import NaiveSimulation, SpikingNetwork, convert
from spikeconv.fuse.form import PRECISIONS
from spikeconv.network.program import Phase

Network = Callable[[Tensor], Tensor]

CONVOLUTIONS = "convolutions"
"""Who only runs the convolutions of all time-steps in float32: no neurons, so no classes either."""

SAME_CLASS = 0.999

# Networks in integers round their weights, so each is held against its own definition, bit for bit,
# on so many images: the definition takes a second for one.
IMAGES_IN_INTEGERS = 2


@dataclass(frozen=True)
class Contest:
    """A network and its contestants, for any batch.

    Attributes:
        snn: the converted network, that all of them simulate.
        networks: by name.
        definitions: of those in integers, the same network in plain torch integers.
        skipped: who cannot be built here, with the reason.
    """

    snn: SpikingNetwork
    networks: dict[str, Network]
    definitions: dict[str, Network]
    skipped: dict[str, str]


def build_contest(
    model: str,
    image_size: int,
    T: int,
    *,
    weights: Path | None = None,
    calibration_images: int = 128,
    device: torch.device,
    compiler: str = "inductor",
    wanted: Sequence[str] | None = None,
) -> Contest:
    """All contestants of a network, or those that are wanted."""
    ann, snn = convert_network(model, image_size, T, calibration_images, device, weights)
    rivals, skipped = rival_networks(snn, compiler)
    networks: dict[str, Network] = {
        "spikeconv": snn,
        **{f"spikeconv-{precision}": snn.fuse(precision) for precision in PRECISIONS},
        **rivals,
        CONVOLUTIONS: partial(convolve_all_steps, snn, layers=temporal_layers(snn), T=T),
        "ann": ann,
    }
    if wanted is not None:
        known = networks.keys() | skipped.keys()
        if unknown := [name for name in wanted if name not in known]:
            raise ValueError(
                f"--contestants: wanted some of {', '.join(sorted(known))}, got "
                f"{', '.join(map(repr, unknown))}"
            )
        networks = {name: network for name, network in networks.items() if name in wanted}
        skipped = {name: reason for name, reason in skipped.items() if name in wanted}
    definitions: dict[str, Network] = {
        f"spikeconv-{precision}": snn.fuse(precision, backend="reference")
        for precision in PRECISIONS
    }
    return Contest(snn, networks, definitions, skipped)


def convert_network(
    model: str,
    image_size: int,
    T: int,
    calibration_images: int,
    device: torch.device,
    weights: Path | None = None,
) -> tuple[nn.Module, SpikingNetwork]:
    """The ANN and its spiking form, fitted and calibrated on synthetic images, on a device."""
    ann = build_network(model, image_size, weights, device)
    calibration = Images(image_size).draw(calibration_images, seed=1)[0]
    batches = [batch.to(device) for batch in calibration.split(32)]
    return ann, convert(ann, batches, T=T, method="opi", progress=False)


def firing_rate(snn: SpikingNetwork) -> float:
    """The share of all neurons that fires at a step, on the calibration images."""
    rows = [(row.firing_rate, prod(row.shape)) for row in snn.report().rows]
    return sum(rate * neurons for rate, neurons in rows) / sum(neurons for _, neurons in rows)


def is_compiled(name: str) -> bool:
    """Whether a contestant needs torch's compiler, which a machine may lack."""
    return name.endswith("-compiled")


def differing(found: Tensor, definition: Tensor) -> str | None:
    """What is wrong with logits of a network in integers, which must be their definition's."""
    wrong = int((found != definition).sum())
    return f"{wrong} logits differ from their definition" if wrong else None


def differing_in_batch(found: Tensor, alone: Tensor) -> str | None:
    """What is wrong with the same images' logits in a larger batch.

    Spikes are the same, but the head sums their counts in float32, in an order that some libraries
    choose by the size of the batch. One spike more or less changes logits by ten times the limit.
    """
    limit = 2e-6 * float(alone.abs().max())
    wrong = int((~((found - alone).abs() <= limit)).sum())  # NaN is wrong too
    return (
        f"{wrong} logits of images in a batch are not those of the images alone" if wrong else None
    )


def too_many(wrong: int, images: int, least: float) -> str | None:
    """What is wrong where so many images have another class; least is the share with the right one.

    One of several may be so near to a border between classes that the order of a sum decides.
    """
    if wrong <= max(int(images > 1), int((1 - least) * images + 1e-9)):
        return None
    return f"same class for {1 - wrong / images:.2%} of {images} images, wanted {least:.1%}"


def temporal_layers(snn: SpikingNetwork) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """The convolutions and linear layers that run at every time-step, with their input's shape."""
    shapes = {step.name: step.shape for step in snn.program.steps}
    return [
        (snn.layers[step.target], shapes[step.args[0].name])
        for step in snn.program.phase(Phase.TEMPORAL)
        if step.kind == "module" and isinstance(snn.layers[step.target], nn.Conv2d | nn.Linear)
    ]


def convolve_all_steps(
    snn: SpikingNetwork, x: Tensor, *, layers: list[tuple[nn.Module, tuple[int, ...]]], T: int
) -> Tensor:
    """The convolutions of all T steps in float32 and nothing else; images at once as ours."""
    at_once = min(len(x), snn.images_at_once(x, T))
    result = x
    for part in x.split(at_once):
        for layer, shape in layers:
            result = layer(part.new_zeros(T * len(part), *shape))
    return result


def admit(contest: Contest, batches: Sequence[Tensor]) -> Gate:
    """Let in who gives the right classes on all batches, and who is in integers the right bits."""
    snn, few = contest.snn, batches[0][:IMAGES_IN_INTEGERS]

    def classes(network: Network) -> Tensor:
        return torch.cat([network(x).argmax(1) for x in batches])

    simulated, analog = classes(NaiveSimulation(snn)), classes(snn.analog)

    def checked(name: str, network: Network) -> Tensor:
        if name == CONVOLUTIONS:
            return network(batches[0])
        if name in contest.definitions:  # the whole batch too, as it is timed
            return torch.cat([network(few), network(batches[0])[: len(few)]])
        return classes(network)

    def verdict(contestant: Contestant, found: Tensor) -> str | None:
        if contestant.name == CONVOLUTIONS:
            return None
        if contestant.name in contest.definitions:
            alone, in_batch = found.chunk(2)
            wanted = contest.definitions[contestant.name](few)
            return differing(alone, wanted) or differing_in_batch(in_batch, alone)
        wanted = analog if contestant.name == "ann" else simulated
        return too_many(int((found != wanted).sum()), len(wanted), SAME_CLASS)

    gate = Gate()
    gate.pass_all(
        (
            Contestant(name, partial(checked, name, network), may_be_missing=is_compiled(name))
            for name, network in contest.networks.items()
        ),
        verdict,
    )
    return gate
