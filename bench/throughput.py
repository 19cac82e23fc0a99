"""Images per second of one converted network: ours, plain torch, SpikingJelly, and the ANN itself.

    python bench/throughput.py --T 16 [--json FILE]
    python bench/throughput.py --T 16 --model resnet18 --batch 64 --device cuda

Without --model, --batch and --threads, the CIFAR networks in several settings, whether the goals of
the project are reached, and how the cost grows with T and with the batch, drawn beside FILE; with
one of them, that setting only.

All spiking contestants simulate the same network: same weights, thresholds and initial potentials.
Before it is timed, each must give the same class as the plain torch simulation for all images but
one in a thousand (or one), a network in integers the bits of its definition in torch integers,
and the ANN the classes of the converted network run as an ANN; otherwise it gets no number and the
exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch
from torch import Tensor

import integer
from contestants import (
    CONVOLUTIONS,
    Contest,
    admit,
    build_contest,
    firing_rate,
)
from cpu_goals import judge
from curves import BATCHES, STEPS, growth, measure_curves, plot_curves
from machine import machine_facts, machine_line
from memory import peak_memory_mb
from network_rows import rows_of, shown
from networks import MODELS, Images
from options import add_allocator, add_device, script_parser, torch_compiler
from report import table, write_json
from settings import Setting, usual_settings
from spikeconv.allocator import keep_freed_memory
from spikeconv.calibrate.inputs import batch_of
from spikeconv.cli.arguments import positive
from spikeconv.ops.native import instruction_sets
from spikeconv.precision import without_tf32
from timing import interleaved, stopwatch_for

Table = dict[str, Any]

# What is taken where an option is not given: (usually, with --smoke).
_DEFAULTS = {
    "T": (16, 3),
    "batch": (64, 2),
    "rounds": (7, 2),
    "check_images": (128, 2),
    "calibration_images": (128, 8),
}


def main(arguments: list[str] | None = None) -> int:
    """Check, time, print and write; 1 if a contestant's classes or a layer's spikes were wrong."""
    options = _parse(arguments)
    device = torch.device(options.device)
    warm = options.allocator == "warm" and keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True
    facts = machine_facts(device) | {"allocator_warm": warm}
    print(machine_line(facts))
    result: dict[str, Any] = {"machine": facts, "options": _said(options), "tables": []}
    settings = _settings(options)
    contests: dict[str, Contest] = {}
    wrong_layers = 0
    for setting in settings:
        if setting.model not in contests:
            try:
                contests = {setting.model: _contest(options, setting, device)}
            except (ValueError, FileNotFoundError) as error:
                print(error, file=sys.stderr)
                return 1
        result["tables"].append(measure(contests[setting.model], setting, options, device))
        _keep(options, result)
    if options.whole:
        result["tables"] += [_forced(*sets, options) for sets in forced_instruction_sets()]
        result["goals"] = judge(result["tables"])
        print("\ngoals, of which a run with --smoke says nothing:" if options.smoke else "")
        print(table(result["goals"], ("goal", "least", "ratio", "reached")))
        result["curves"] = curves(options, device)
        _keep(options, result)
        print("\nlayers of integer networks beside the machine's peak:", flush=True)
        wrong_layers, result["layers"] = _roofline(options)
        _keep(options, result)
    return 1 if wrong_layers or any(found["refused"] for found in result["tables"]) else 0


def measure(
    contest: Contest, setting: Setting, options: argparse.Namespace, device: torch.device
) -> Table:
    """One table: everybody who gives the right classes, timed in turns."""
    torch.set_num_threads(setting.threads)
    images = Images(setting.image_size)
    count = max(1, options.check_images // setting.batch)
    batches = [images.draw(setting.batch, seed=1000 + i)[0].to(device) for i in range(count)]
    rate = firing_rate(contest.snn)
    print(
        f"\n{setting}; {rate:.1%} of neurons fire at a step; "
        f"classes checked on {setting.batch * count} images, "
        f"median and quartiles of {options.rounds} rounds\n"
    )
    with torch.no_grad():
        with without_tf32():  # which moves spikes, and with them classes of two correct networks
            gate = admit(contest, batches)
        gate.skipped |= contest.skipped
        tasks = {c.name: partial(contest.networks[c.name], batches[0]) for c in gate.admitted}
        times = interleaved(
            tasks,
            options.rounds,
            stopwatch_for(device),
            warmup=1,
            min_seconds=0.05 if device.type == "cuda" or setting.batch == 1 else 0.0,
        )
        for name in contest.definitions.keys() & tasks.keys():
            _keep_weights_only(contest.networks[name], batches[0])
        peaks = {name: peak_memory_mb(task, device) for name, task in tasks.items()}
    said = setting.to_dict() | {"firing_rate": rate}
    return shown(said, rows_of(times, peaks, setting.batch), gate)


def _keep_weights_only(network: Any, x: Tensor) -> None:
    """Give back the memory that a network in integers keeps for spikes, so that it counts."""
    network.integers.forget_engines()
    network.integers.for_run(network.T, batch_of((x,)))  # packs the weights


def forced_instruction_sets() -> list[tuple[str, str | None]]:
    """What our kernels and torch are held to, best first; None is all that the machine has.

    Torch is held to AVX2 as well, since a machine that has no more gives it no more either.
    """
    lower: list[tuple[str, str | None]] = [("avx512_vnni", None), ("avx2", None), ("avx2", "avx2")]
    return [sets for sets in lower if sets[0] in instruction_sets()]


def _forced(isa: str, torch_isa: str | None, options: argparse.Namespace) -> Table:
    """ResNet-20 with other instruction sets, in its own process: each chooses once."""
    setting = usual_settings(options.T)[0]
    names = ("spikeconv-int8", CONVOLUTIONS, "ann")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "forced.json")
        command = [
            *(sys.executable, str(Path(__file__).resolve()), "--T", str(options.T)),
            *("--model", setting.model, "--batch", str(setting.batch), "--threads", "1"),
            *("--rounds", str(options.rounds), "--check-images", str(options.check_images)),
            *("--calibration-images", str(options.calibration_images)),
            *("--allocator", options.allocator),
            *("--contestants", *names, "--json", str(path)),
            *(["--smoke"] if options.smoke else []),
        ]
        held = {"SPIKECONV_ISA": isa}
        if torch_isa is not None:
            held |= {"ATEN_CPU_CAPABILITY": torch_isa, "ONEDNN_MAX_CPU_ISA": torch_isa.upper()}
        print("\nwith " + " ".join(f"{key}={value}" for key, value in held.items()), flush=True)
        done = subprocess.run(command, env={**os.environ, **held})
        if not path.exists():  # who gave wrong classes stands in it, and the run goes on
            done.check_returncode()
        found: Table = json.loads(path.read_text())["tables"][0]
    found["setting"] |= {"isa": isa, "torch_isa": torch_isa}
    return found


def _roofline(options: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    """`integer.py`'s exit status, and what it writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "layers.json")
        given = ["--T", str(options.T), "--rounds", str(options.rounds), "--json", str(path)]
        status = integer.main([*given, *(["--smoke"] if options.smoke else [])])
        return status, json.loads(path.read_text())


def curves(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Milliseconds of the int8 ResNet-20 by T and by batch, printed and drawn."""
    setting = _settings(options)[0]
    contest = _contest(options, setting, device, wanted=["spikeconv-int8"])
    steps, batches = (STEPS[:2], BATCHES[:2]) if options.smoke else (STEPS, BATCHES)
    images = Images(setting.image_size).draw(max(*batches, setting.batch), seed=1)[0].to(device)
    found = measure_curves(
        contest.networks["spikeconv-int8"], images, options.T, stopwatch_for(device),
        batch=setting.batch, steps=steps, batches=batches, rounds=min(5, options.rounds),
    )  # fmt: skip
    threads = torch.get_num_threads()
    title = f"{setting.model} in int8, {threads} thread{'s' * (threads != 1)}"
    print(f"\n{title}\ncost of a step, by T ({setting.batch} images): {growth(found['T'])}")
    print(f"cost of an image, by batch (T = {options.T}): {growth(found['batch'])}")
    if options.json is not None:
        plot_curves(options.json.with_suffix(".svg"), found, title)
    return found


def _contest(
    options: argparse.Namespace,
    setting: Setting,
    device: torch.device,
    wanted: Sequence[str] | None = None,
) -> Contest:
    return build_contest(
        setting.model,
        setting.image_size,
        options.T,
        weights=options.weights,
        calibration_images=options.calibration_images,
        device=device,
        compiler=torch_compiler(options.smoke),
        wanted=wanted or options.contestants,
    )


def _settings(options: argparse.Namespace) -> list[Setting]:
    if options.whole and not options.smoke:
        return usual_settings(options.T)
    threads = options.threads or torch.get_num_threads()
    return [Setting(options.model, options.image_size, options.batch, options.T, threads)]


def _keep(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Write what is known so far: an interrupted run leaves its tables."""
    if options.json is not None:
        write_json(options.json, result)


def _said(options: argparse.Namespace) -> dict[str, object]:
    names = ("T", "device", "tf32", "rounds", "check_images", "calibration_images", "smoke")
    return {name: getattr(options, name) for name in names}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__, rounds=None)
    parser.add_argument("--T", type=positive, help="time-steps (16)")
    parser.add_argument("--model", choices=MODELS, help="only this one; default: several settings")
    parser.add_argument("--image-size", type=positive, help="below 64: the CIFAR forms (32)")
    parser.add_argument("--batch", type=positive, help="images of a call, of one setting only")
    parser.add_argument("--threads", type=positive, help="of one setting only; torch's own choice")
    parser.add_argument("--contestants", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--weights", type=Path, help="weights of the ANN; default: random features")
    add_device(parser, "cpu")
    parser.add_argument("--tf32", action="store_true", help="let a GPU round float32 to TF32")
    parser.add_argument("--check-images", type=positive, help="whose classes are checked (128)")
    parser.add_argument("--calibration-images", type=positive, help="(128)")
    add_allocator(parser)
    options = parser.parse_args(arguments)
    chosen = (options.model, options.batch, options.threads, options.contestants)
    options.whole = all(one is None for one in chosen) and options.device == "cpu"
    for name, (usual, tiny) in _DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, tiny if options.smoke else usual)
    if options.whole and not options.smoke:
        of_one = {"--image-size": options.image_size, "--weights": options.weights}
        for flag, value in of_one.items():
            if value is not None:
                parser.error(f"{flag} is of one network, so give --model too, got {flag} {value}")
    options.image_size = options.image_size or 32
    options.model = options.model or "resnet20"
    return options


if __name__ == "__main__":
    sys.exit(main())
