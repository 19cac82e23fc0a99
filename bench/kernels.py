"""How fast one population of neurons is, beside a copy of its input and beside other libraries.

    python bench/kernels.py [--device cuda] [--json FILE]

Each contestant turns the same input current [T, N] into spikes (v_init 0, threshold 1, soft reset).
Its output must equal the reference's bit for bit before it is timed; otherwise it gets no number
and the exit status is 1. On a GPU calls are replayed from CUDA graphs, if that can be ("replayed"
in the JSON), so that what Python needs for a launch is in nobody's time.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch
from torch import Tensor

from gate import Contestant, Gate
from machine import machine_facts, machine_line
from options import add_allocator, add_population, script_parser, torch_compiler
from ours import BACKENDS, DTYPES, EMITS, run, runnable
from replay import replayed
from report import table, write_json
from rivals import Scan, functional_torch_loop, spikingjelly_if, spikingjelly_missing, torch_loop
from spikeconv.allocator import keep_freed_memory
from timing import Times, interleaved, stopwatch_for

KEYS = ("dtype", "emit", "name")
WORD_STEPS = 32
FIGURES = (
    "ns_per_element",
    "q25",
    "q75",
    "times_clone",
    "gb_per_s",
    "copy_share",
    "replayed",
)


def main(arguments: list[str] | None = None) -> int:
    """Check, time, print and write; 1 if a contestant's output was wrong."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    warm = options.allocator == "warm" and keep_freed_memory()
    facts = machine_facts(torch.device(options.device)) | {"allocator_warm": warm}
    print(machine_line(facts))
    print(f"x = [{options.T}, {options.N}]; median and quartiles of {options.rounds} rounds\n")
    rows: list[dict[str, object]] = []
    unfit: dict[str, dict[str, str]] = {"skipped": {}, "refused": {}}
    for name in options.dtypes:
        gate = _admit(options, DTYPES[name])
        rows += _time(options, name, gate.admitted)
        unfit["skipped"] |= {f"{name} {key}": why for key, why in gate.skipped.items()}
        unfit["refused"] |= {f"{name} {key}": why for key, why in gate.refused.items()}
        if options.json is not None:  # what an interrupted run leaves
            keys = ("T", "N", "device", "rounds", "smoke")
            setting = {key: getattr(options, key) for key in keys}
            write_json(options.json, {"machine": facts, "setting": setting, "rows": rows, **unfit})
        if gate.report():
            print(f"{name}:\n{gate.report()}", file=sys.stderr)
    print(table(rows, (*KEYS, *FIGURES)))
    return 1 if unfit["refused"] else 0


def current(T: int, N: int, dtype: torch.dtype, device: str) -> Tensor:
    """Input current [T, N]: noise under which a quarter of the neurons fires at each step.

    Random spikes are the hard case for a CPU: regular ones would be predicted.
    """
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randn(T, N, generator=generator, device=device).mul_(0.5).add_(0.25)
    return x.to(dtype)


def contestants(
    x: Tensor, backends: list[str], emits: list[str], compiler: str | None = "inductor"
) -> list[Contestant]:
    """Everyone who can run x; what cannot be tried at all is the caller's to name.

    Without a compiler nobody who needs torch's.
    """
    found = [Contestant("clone", x.clone, emit="copy")]
    found += [
        Contestant(f"spikeconv-{backend}", partial(run, x, backend, emit), emit)
        for emit in emits
        for backend in backends
    ]
    rivals: dict[str, Scan] = {"torch-loop": torch_loop}
    compiled: dict[str, Scan] = {"torch-loop-compiled": functional_torch_loop}
    if spikingjelly_missing() is None:
        rivals["spikingjelly"] = compiled["spikingjelly-compiled"] = spikingjelly_if(x.dtype)
    found += [Contestant(name, partial(scan, x), "spikes") for name, scan in rivals.items()]
    if compiler is None:
        return found
    found += [
        Contestant(
            name, partial(torch.compile(scan, dynamic=False, backend=compiler), x), "spikes", True
        )
        for name, scan in compiled.items()
    ]
    return found


def verdict(x: Tensor, contestant: Contestant, output: Tensor) -> str | None:
    """None if the output is the reference's bit for bit, else what is wrong with it."""
    wanted = x if contestant.emit == "copy" else run(x, "reference", contestant.emit)
    if output.dtype != wanted.dtype or output.shape != wanted.shape:
        return (
            f"wanted {wanted.dtype} {list(wanted.shape)}, got {output.dtype} {list(output.shape)}"
        )
    if not torch.equal(output, wanted):
        share = (output != wanted).double().mean().item()
        return f"differs from the reference in {share:.3%} of the elements"
    return None


def _admit(options: argparse.Namespace, dtype: torch.dtype) -> Gate:
    x = current(options.T, options.N, dtype, options.device)
    gate = Gate()
    able, unable = runnable(options.backends)
    gate.skipped |= {f"spikeconv-{name}": reason for name, reason in unable.items()}
    if (missing := spikingjelly_missing()) is not None:
        gate.skipped["spikingjelly"] = missing
    # Without a compiled backend the reference stands for what a user of this machine gets.
    compiler = None if options.eager else options.compiler
    field = contestants(x, able or ["reference"], options.emits, compiler)
    with torch.no_grad():
        gate.pass_all(field, partial(verdict, x))
    return gate


def _time(
    options: argparse.Namespace, dtype: str, admitted: list[Contestant]
) -> list[dict[str, object]]:
    device = torch.device(options.device)
    with torch.no_grad():
        tasks = {contestant.key: replayed(contestant.run, device) for contestant in admitted}
        times = interleaved(
            {key: task for key, (task, _) in tasks.items()},
            options.rounds,
            stopwatch_for(device),
            min_seconds=0.02 if device.type == "cuda" else 0.0,
        )
    copy_bytes = useful_bytes(options.T, options.N, DTYPES[dtype].itemsize, "copy")
    clone = times["clone copy"]
    rows = []
    for contestant in admitted:
        taken = times[contestant.key]
        size = useful_bytes(options.T, options.N, DTYPES[dtype].itemsize, contestant.emit)
        row = _row(contestant, dtype, taken, options.T * options.N)
        row["replayed"] = tasks[contestant.key][1]
        row["times_clone"] = taken.median / clone.median
        row["gb_per_s"] = size / taken.median / 1e9
        row["copy_share"] = (size / taken.median) / (copy_bytes / clone.median)
        rows.append(row)
    return rows


def _row(contestant: Contestant, dtype: str, taken: Times, elements: int) -> dict[str, object]:
    return {
        "name": contestant.name,
        "emit": contestant.emit,
        "dtype": dtype,
        "ns_per_element": taken.median / elements * 1e9,
        "q25": taken.q25 / elements * 1e9,
        "q75": taken.q75 / elements * 1e9,
    }


def useful_bytes(T: int, N: int, itemsize: int, emit: str) -> int:
    """Bytes that nobody can avoid: the input read once, what is emitted written once.

    >>> useful_bytes(16, 1, 4, "spikes"), useful_bytes(16, 1, 4, "words")
    (128, 68)
    """
    written = {"uint8": T * N, "words": 4 * N, "count": 4 * N}.get(emit, T * N * itemsize)
    return T * N * itemsize + written


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__, rounds=15)
    add_population(parser, T=16, N=2**22)
    parser.add_argument("--eager", action="store_true", help="without what torch has to compile")
    parser.add_argument("--emits", nargs="+", choices=EMITS, help="all that can hold T steps")
    add_allocator(parser)
    options = parser.parse_args(arguments)
    if options.smoke:
        options.T, options.N, options.rounds = 4, 1003, 3
    if options.emits is None:
        options.emits = [emit for emit in EMITS if emit != "words" or options.T <= WORD_STEPS]
    elif "words" in options.emits and options.T > WORD_STEPS:
        parser.error(f"--emits words holds at most {WORD_STEPS} steps, got --T {options.T}")
    options.compiler = torch_compiler(options.smoke)
    options.backends = options.backends or list(BACKENDS[options.device])
    return options


if __name__ == "__main__":
    sys.exit(main())
