"""How far the CPU's integer layers are from what its multiplications could do at best.

    python bench/integer.py [--T 16] [--isas avx2 ...] [--rate 0.125] [--json FILE]

Each layer must give the spikes of the definition before it is timed; otherwise it gets no number
and the exit status is 1. The ceiling is a bare loop of the same multiplications over registers,
timed in turns with the layers, and `peak` the share of it that a layer reaches: products of a byte
and a weight that the layer needs, over what the loop makes in the same time. Sums made from events
leave out the products with zero, and those that are looked up take several at once, so they may be
above 1; `--sums products` is without them. A line for each instruction set names the layer that is
furthest from it. On one thread (the default)
processor time is what counts, so that other work on the machine disturbs little; on several it is
wall-clock time.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch
from torch import Tensor

from gate import Contestant, Gate
from integer_cases import NETWORKS, SHAPES, one_layer, residual_network, spikes
from machine import machine_facts, machine_line
from options import script_parser
from report import table, write_json
from spikeconv.allocator import keep_freed_memory
from spikeconv.cli.arguments import positive
from spikeconv.fuse.cpu import CpuEngine
from spikeconv.fuse.engine import Fired, Given, Want
from spikeconv.fuse.form import PRECISIONS
from spikeconv.fuse.stepwise import ReferenceEngine
from spikeconv.ops.integer import new_program
from spikeconv.ops.native import instruction_sets, load
from timing import cpu_stopwatch, interleaved, thread_stopwatch

COLUMNS = ("isa", "network", "layer", "ms", "q25", "q75", "gmac_per_s", "peak")
BARE_ROUNDS = 200_000
# A sample repeats a layer for so long: within a network, too, its spikes come from the cache.
MIN_SECONDS = 0.004
SPIKES = Want(frozenset({"out"}), frozenset(), states=False)


@dataclass(frozen=True)
class Entry:
    """Something that is timed, and how many products of a byte and a weight it needs."""

    network: str
    layer: str
    run: Callable[[], object]
    products: int


def main(arguments: list[str] | None = None) -> int:
    """Check, time, print and write; 1 if a layer's spikes were wrong."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    warm = keep_freed_memory()
    facts = machine_facts(torch.device("cpu")) | {"allocator_warm": warm}
    print(machine_line(facts))
    print(
        f"T = {options.T}, batch {options.batch}, {options.precision}, "
        f"{options.threads} thread(s), sums {options.sums}; what single layers read fires at "
        f"{options.rate:.1%} of the steps, a chain's neurons as they do"
    )
    rows: list[dict[str, object]] = []
    refused: dict[str, str] = {}
    with torch.inference_mode():
        for isa in options.isas:
            gate = Gate()
            entries = [*layers(options, isa, gate), *chains(options, isa)]
            rows += measure(options, isa, entries)
            refused |= gate.refused
            if gate.report():
                print(gate.report(), file=sys.stderr)
    print("\n" + table(rows, COLUMNS))
    if options.json is not None:
        names = ("T", "batch", "precision", "rate", "sums", "rounds", "smoke")
        setting = {name: getattr(options, name) for name in names}
        content = {"machine": facts, "setting": setting, "rows": rows, "refused": refused}
        write_json(options.json, content)
    return 1 if refused else 0


def layers(options: argparse.Namespace, isa: str, gate: Gate) -> list[Entry]:
    """Single layers whose spikes are right."""
    entries = []
    for shape in SHAPES:
        if options.smoke and shape.inputs > 16:
            continue
        builder = one_layer(shape, options.precision)
        engine = CpuEngine(builder.program(), isa=isa, sums=options.sums)
        trains = {
            name: spikes(builder.sources[name], options.T, options.batch, options.rate)
            for name in ("in", "same")
        }
        packed = {name: engine.pack(name, train) for name, train in trains.items()}
        run = partial(engine.run, ("out",), Given(packed, {}, options.T, {}), SPIKES)
        contestant = Contestant(
            f"{isa}: {shape.network}, {shape.name}", partial(_train, engine, run)
        )
        definition = ReferenceEngine(builder.program())
        wanted = definition.run(("out",), Given(trains, {}, options.T, {}), SPIKES)["out"].spikes
        gate.pass_all([contestant], partial(verdict, wanted))
        if contestant in gate.admitted:
            products = builder.products * options.T * options.batch
            entries.append(Entry(shape.network, shape.name, run, products))
    return entries


def _train(engine: CpuEngine, run: Callable[[], dict[str, Fired]]) -> Tensor:
    return engine.unpack("out", run()["out"].spikes)


def verdict(wanted: Tensor, contestant: Contestant, output: Tensor) -> str | None:
    """None if the spikes are the definition's, else what is wrong with them."""
    if output.shape != wanted.shape:
        return f"wanted {list(wanted.shape)}, got {list(output.shape)}"
    if torch.equal(output, wanted):
        return None
    return f"differs from the definition in {(output != wanted).double().mean().item():.3%}"


def chains(options: argparse.Namespace, isa: str) -> list[Entry]:
    """Whole networks between stem and head, from the stem's current to the last counts."""
    entries = []
    for name in NETWORKS if not options.smoke else ():
        builder, encoder, names = residual_network(name, options.precision)
        engine = CpuEngine(builder.program(), [encoder], isa, options.sums)
        chain = engine.chain(names, counts=names[-1:])
        current = 0.25 * torch.rand(options.batch, *builder.sources["stem"].shape)
        run = partial(chain.run, {}, {"stem": current}, options.T)
        products = builder.products * options.T * options.batch
        entries.append(Entry(name, "all of them, in one chain", run, products))
    return entries


def measure(options: argparse.Namespace, isa: str, entries: list[Entry]) -> list[dict[str, object]]:
    """Rows of one instruction set, after a line on the screen about its worst layer."""
    program = new_program(isa)
    loop = partial(program.bare, BARE_ROUNDS)
    # The loop runs on one thread, and each thread could run one.
    entries = [Entry("", "bare loop", loop, loop() * options.threads), *entries]
    times = interleaved(
        {f"{entry.network} {entry.layer}": entry.run for entry in entries},
        options.rounds,
        thread_stopwatch if options.threads == 1 else cpu_stopwatch,
        min_seconds=MIN_SECONDS,
    )
    rates = [e.products / taken.median for e, taken in zip(entries, times.values(), strict=True)]
    peak = rates[0]
    rows: list[dict[str, object]] = []
    for entry, taken, rate in zip(entries, times.values(), rates, strict=True):
        rows.append(
            {
                "isa": isa,
                "network": entry.network,
                "layer": entry.layer,
                "ms": taken.median * 1e3,
                "q25": taken.q25 * 1e3,
                "q75": taken.q75 * 1e3,
                "gmac_per_s": rate / 1e9,
                "peak": rate / peak,
            }
        )
    if len(rates) > 1:
        worst = min(range(1, len(rates)), key=rates.__getitem__)
        where = f"{entries[worst].network}, {entries[worst].layer}"
        share = rates[worst] / peak
        print(f"{isa}: of {peak / 1e9:.0f} GMAC/s, least is reached by {where}: {share:.0%}")
    return rows


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__, rounds=11)
    parser.add_argument("--T", type=positive, default=16, help="time-steps")
    parser.add_argument("--batch", type=positive, default=1)
    parser.add_argument("--precision", choices=PRECISIONS, default="int8")
    isas = instruction_sets()
    parser.add_argument("--isas", nargs="+", choices=isas, default=isas)
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument(
        "--rate",
        type=float,
        default=0.125,
        help="from 0 to 1, of what single layers read that fires at each step; by default about "
        "that of a converted ResNet",
    )
    parser.add_argument(
        "--sums",
        choices=("auto", "products", "events", "lookups"),
        default="auto",
        help="how they are made; events and lookups may beat the peak of products",
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.rate <= 1:
        parser.error(f"argument --rate: must be from 0 to 1, got {options.rate}")
    if (reason := load()) is not None:
        parser.error(reason)
    if options.smoke:
        options.T, options.batch, options.rounds = 3, 1, 3
    return options


if __name__ == "__main__":
    sys.exit(main())
