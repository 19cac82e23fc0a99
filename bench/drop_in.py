"""How much faster other libraries' layers and networks get with our neurons in their place.

    python bench/drop_in.py [--device cuda] [--json FILE]

Every row is one layer or network before and after `spikeconv.replace_neurons`. What it gives is
compared first, bit for bit (gradients to 1e-5); a row that differs gets no time, and the exit
status is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from functools import partial

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch
from torch import Tensor

from drop_in_cases import LIBRARIES, Case, layers, missing, network
from gate import Contestant, Gate
from machine import machine_facts, machine_line
from options import add_allocator, add_device, script_parser
from report import table, write_json
from spikeconv.allocator import keep_freed_memory
from timing import interleaved, process_stopwatch, stopwatch_for

COLUMNS = ("library", "layer", "mode", "neurons", "before_ms", "after_ms", "faster")


def main(arguments: list[str] | None = None) -> int:
    """Check, time, print and write; 1 if a row differed."""
    options = _parse(arguments)
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    warm = options.allocator == "warm" and keep_freed_memory()
    facts = machine_facts(device) | {"allocator_warm": warm}
    print(machine_line(facts))
    print(
        f"T = {options.T}; outputs compared before timing; {options.clock} time, medians of "
        f"{options.rounds} rounds, before and after in turns\n"
    )
    gate = Gate()
    rows: list[dict[str, object]] = []
    with torch.no_grad():
        for case in _cases(options, device, gate):
            gate.pass_all(
                [Contestant(case.key, partial(case.run, case.ours))], partial(_verdict, case)
            )
            if gate.admitted and gate.admitted[-1].name == case.key:
                rows.append(_row(case, options, device))
    print(table(rows, COLUMNS))
    if gate.report():
        print(gate.report(), file=sys.stderr)
    if options.json is not None:
        keys = ("T", "batch", "rounds", "device", "threads", "clock", "smoke")
        setting = {key: getattr(options, key) for key in keys}
        unfit = {"skipped": gate.skipped, "refused": gate.refused}
        write_json(options.json, {"machine": facts, "setting": setting, "rows": rows, **unfit})
    return 1 if gate.refused else 0


def _cases(options: argparse.Namespace, device: torch.device, gate: Gate) -> Iterator[Case]:
    """All cases that can run here; why the others cannot is noted in the gate."""
    for library in options.libraries:
        why = missing(library)
        if why is not None:
            gate.skipped[library] = why
            continue
        for neurons in options.neurons:
            yield from layers(library, options.T, neurons, device)
        if library == "spikingjelly":
            yield from network(options.T, options.batch, options.image_size, device)


def _verdict(case: Case, contestant: Contestant, found: Tensor) -> str | None:
    """What is wrong with a case's result, beside what it was before."""
    wanted = case.run(case.theirs)
    if not case.training:
        return None if torch.equal(found, wanted) else _difference(found, wanted)
    if not torch.equal(found[0], wanted[0]):
        return _difference(found[0], wanted[0])
    if torch.allclose(found[1], wanted[1], rtol=1e-5, atol=1e-5):
        return None
    return f"gradients differ by up to {(found[1] - wanted[1]).abs().max().item():.1e}"


def _difference(found: Tensor, wanted: Tensor) -> str:
    return f"differs from before in {(found != wanted).double().mean().item():.3%} of the elements"


def _row(case: Case, options: argparse.Namespace, device: torch.device) -> dict[str, object]:
    times = interleaved(
        {"before": partial(case.run, case.theirs), "after": partial(case.run, case.ours)},
        options.rounds,
        process_stopwatch if options.clock == "processor" else stopwatch_for(device),
        min_seconds=options.min_seconds,
    )
    before, after = times["before"], times["after"]
    return {
        "library": case.library,
        "layer": case.layer,
        "mode": case.mode,
        "neurons": case.neurons,
        "before_ms": before.median * 1e3,
        "before_quartiles": (before.q25 * 1e3, before.q75 * 1e3),
        "after_ms": after.median * 1e3,
        "after_quartiles": (after.q25 * 1e3, after.q75 * 1e3),
        "faster": before.median / after.median,
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__, rounds=11)
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    parser.add_argument("--T", type=int, default=16, help="time-steps")
    parser.add_argument("--neurons", type=int, nargs="+", default=[1000, 2**20], help="of a layer")
    parser.add_argument("--batch", type=int, default=8, help="images of the network")
    add_device(parser, "cpu")
    parser.add_argument("--threads", type=int, default=1)
    add_allocator(parser)
    parser.add_argument(
        "--clock", choices=("wall", "processor"), default="wall",
        help="processor: seconds of the process alone, for a CPU that others use too",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.clock == "processor" and (options.device != "cpu" or options.threads != 1):
        parser.error("--clock processor is for --device cpu and --threads 1")
    options.image_size, options.min_seconds = 32, 0.02
    if options.smoke:
        options.T, options.neurons, options.rounds, options.batch = 4, [37, 1003], 2, 1
        options.image_size, options.min_seconds = 8, 0.0
    return options


if __name__ == "__main__":
    sys.exit(main())
