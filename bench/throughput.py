"""Images per second of one converted network: ours, plain torch, SpikingJelly, and the ANN itself.

    python bench/throughput.py --T 16 [--model resnet18] [--device cuda] [--json FILE]

All spiking contestants simulate the same network: same weights, thresholds and initial potentials.
Each must give the same class as the plain torch simulation for at least 99.9 % of the images before
it is timed, and the ANN the same as the converted network run as an ANN; otherwise it gets no
number and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch
from torch import Tensor, nn

from gate import Contestant, Gate
from machine import machine_facts, machine_line
from memory import keep_freed_memory, peak_memory_mb
from networks import MODELS, Images, build_network
from report import table, write_json
from rival_networks import rival_networks
from spikeconv.convert import NaiveSimulation, SpikingNetwork, convert
from timing import Times, interleaved, stopwatch_for

FIGURES = ("images_per_s", "ms", "q25", "q75", "times_ann", "peak_mb")
SAME_CLASS = 0.999
SAME_CLASS_TF32 = 0.99

Network = Callable[[Tensor], Tensor]


def main(arguments: list[str] | None = None) -> int:
    """Check, time, print and write; 1 if a contestant's classes were wrong."""
    options = _parse(arguments)
    device = torch.device(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    warm = options.allocator == "warm" and keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True
    facts = machine_facts(device) | {"allocator_warm": warm}
    print(machine_line(facts))
    ann, snn = convert_network(options, device)
    images = Images(options.image_size)
    batches = [
        images.draw(options.batch, seed=1000 + i)[0].to(device)
        for i in range(options.check_batches)
    ]
    checked = options.batch * options.check_batches
    print(
        f"{options.model}, {options.image_size} x {options.image_size} pixels, "
        f"batch {options.batch}, T = {options.T}; classes checked on {checked} images, "
        f"median and quartiles of {options.rounds} rounds\n"
    )
    # In a smoke run the compiled contestants are traced but not compiled: that takes half a minute.
    rivals, skipped = rival_networks(snn, "aot_eager" if options.smoke else "inductor")
    networks: dict[str, Network] = {"spikeconv": snn, **rivals, "ann": ann}
    with torch.no_grad():
        gate = admit(networks, snn, batches, SAME_CLASS_TF32 if options.tf32 else SAME_CLASS)
        gate.skipped |= skipped
        tasks = {c.name: partial(networks[c.name], batches[0]) for c in gate.admitted}
        times = interleaved(
            tasks,
            options.rounds,
            stopwatch_for(device),
            warmup=1,
            min_seconds=0.05 if device.type == "cuda" else 0.0,
        )
        peaks = {name: peak_memory_mb(task, device) for name, task in tasks.items()}
    rows = rows_of(times, peaks, options.batch)
    print(table(rows, ("name", *FIGURES)))
    if gate.report():
        print(gate.report(), file=sys.stderr)
    if options.json is not None:
        keys = ("model", "image_size", "batch", "T", "device", "tf32", "rounds", "smoke")
        setting = {key: getattr(options, key) for key in keys}
        unfit = {"skipped": gate.skipped, "refused": gate.refused}
        write_json(options.json, {"machine": facts, "setting": setting, "rows": rows, **unfit})
    return 1 if gate.refused else 0


def convert_network(
    options: argparse.Namespace, device: torch.device
) -> tuple[nn.Module, SpikingNetwork]:
    """The ANN and its spiking form, calibrated on synthetic images."""
    ann = build_network(options.model, options.image_size, options.weights)
    calibration = Images(options.image_size).draw(options.calibration_images, seed=1)[0]
    batches = torch.split(calibration, min(32, options.batch))
    snn = convert(ann, batches, T=options.T, method="opi", progress=False)
    return ann.to(device), snn.to(device)


def admit(
    networks: dict[str, Network],
    snn: SpikingNetwork,
    batches: Sequence[Tensor],
    same_class: float = SAME_CLASS,
) -> Gate:
    """Let in who gives the right classes on all batches."""

    def classes(network: Network) -> Tensor:
        return torch.cat([network(x).argmax(1) for x in batches])

    simulated, analog = classes(NaiveSimulation(snn)), classes(snn.analog)

    def verdict(contestant: Contestant, found: Tensor) -> str | None:
        wanted = analog if contestant.name == "ann" else simulated
        share = (found == wanted).double().mean().item()
        if share >= same_class:
            return None
        return f"same class for {share:.2%} of {len(wanted)} images, wanted {same_class:.1%}"

    gate = Gate()
    gate.pass_all(
        (
            Contestant(name, partial(classes, network), may_be_missing=name.endswith("-compiled"))
            for name, network in networks.items()
        ),
        verdict,
    )
    return gate


def rows_of(
    times: dict[str, Times], peaks: dict[str, float | None], batch: int
) -> list[dict[str, object]]:
    """The table's rows; `times_ann` is the time in units of one ANN pass on the same batch."""
    ann = times["ann"].median if "ann" in times else None
    return [
        {
            "name": name,
            "images_per_s": batch / taken.median,
            "ms": taken.median * 1e3,
            "q25": taken.q25 * 1e3,
            "q75": taken.q75 * 1e3,
            "times_ann": None if ann is None else taken.median / ann,
            "peak_mb": peaks[name],
        }
        for name, taken in times.items()
    ]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--T", type=int, default=16, help="time-steps")
    parser.add_argument("--model", choices=MODELS, default="resnet20")
    parser.add_argument("--image-size", type=int, help="pixels; default 32, the CIFAR forms")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--weights", type=Path, help="weights of the ANN; default: random features")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tf32", action="store_true", help="let a GPU round float32 to TF32")
    parser.add_argument("--threads", type=int, help="default: torch's own choice")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--check-batches", type=int, default=4, help="batches of the output check")
    parser.add_argument("--calibration-images", type=int, default=128)
    parser.add_argument(
        "--allocator", choices=("warm", "default"), default="warm",
        help="warm: glibc keeps freed memory, so that page faults are not what is timed",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--smoke", action="store_true", help="tiny: does it run at all")
    options = parser.parse_args(arguments)
    options.image_size = options.image_size or 32
    if options.smoke:
        options.T, options.batch, options.rounds, options.check_batches = 3, 2, 2, 1
        options.calibration_images = 8
    return options


if __name__ == "__main__":
    sys.exit(main())
