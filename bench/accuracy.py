"""Accuracy of every method at every T on whole test sets, beside goals and published figures.

    python bench/accuracy.py [--networks resnet20-shared] [--methods opi best] [--T 4 8]

Every cell is kept as soon as it is measured, so the same command goes on where it was stopped. With
all methods and all images it takes days on two cores; what matters most comes first, and tables and
plots are written whenever it ends. ``--tables`` only writes them.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch

from accuracy_tables import goals, report
from cells import Cells
from machine import machine_facts, machine_line
from memory import keep_freed_memory
from methods import METHODS, STEPS, by_name
from report import write_json
from results import Results
from scan import CALIBRATION_IMAGES, estimate, missing, plan, run
from spikeconv.data import DATASETS
from spikeconv.output import replacing
from trained import HERE, NETWORKS, Network, load, own_network

OUT = HERE / "results" / "accuracy"
DATA = HERE.parent.parent / "shared" / "data"


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing and write the tables; 130 if it was interrupted."""
    options = _parse(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    facts = machine_facts(torch.device("cpu"))
    print(machine_line(facts))
    cells = Cells(options.out / "cells.jsonl")
    results = open_results(options, cells)
    tasks = plan(
        [(n, results.loaded[n.name]) for n in wanted(options) if n.name in results.loaded],
        [by_name(name) for name in options.methods],
        options.T,
        options.limit,
        options.calibration_images,
        options.seed,
    )
    todo = [] if options.tables else missing(tasks, cells)
    hours = estimate(todo, cells) / 3600
    print(
        f"{len(tasks)} cells wanted, {len(tasks) - len(missing(tasks, cells))} are there, "
        f"{len(todo)} to measure: about {hours:.1f} hours\n"
    )
    made = {key: facts[key] for key in ("machine", "torch", "commit", "time")}
    stopped = False
    try:
        run(todo, results.loaded, cells, made)
    except KeyboardInterrupt:
        stopped = True
        print("\nstopped: all finished cells are kept; the same command goes on", file=sys.stderr)
    write(options.out, results, facts, _settings(options))
    print(goals(results))
    print(f"\nwrote {options.out}")
    return 130 if stopped else 0


def wanted(options: argparse.Namespace) -> list[Network]:
    """The networks that were asked for, in the order of the table."""
    known = [n for n in NETWORKS if n.dataset == options.dataset]
    own = [own_network(text, options.dataset) for text in options.weights]
    if options.networks is None:
        return own or known
    names = {n.name: n for n in (*known, *own)}
    for name in options.networks:
        if name not in names:
            raise ValueError(
                f"--networks: wanted some of {', '.join(names) or 'none'} for {options.dataset}, "
                f"got {name!r}; --weights NAME=FILE adds your own"
            )
    return [names[name] for name in dict.fromkeys(options.networks)]


def open_results(options: argparse.Namespace, cells: Cells) -> Results:
    """All networks of the tables, those that are there in memory."""
    own = [own_network(text, options.dataset) for text in options.weights]
    networks = [*(n for n in NETWORKS if n.dataset == options.dataset), *own]
    if not networks:
        raise ValueError(
            f"--dataset {options.dataset}: no network is known for it; add --weights NAME=FILE"
        )
    loaded, absent = {}, {}
    for network in networks:
        reason = network.missing(options.data)
        if reason is None:
            loaded[network.name] = load(network, options.data, options.seed)
        else:
            absent[network.name] = reason
            print(f"not measured: {network.name}: {reason}", file=sys.stderr)
    return Results(cells, networks, loaded, absent, options.calibration_images, options.seed)


def write(out: Path, results: Results, facts: dict[str, Any], settings: dict[str, Any]) -> None:
    """Write JSON, tables and plots."""
    out.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "settings": settings, "networks": results.to_dict()}
    write_json(out / "accuracy.json", content)
    with replacing(out / "README.md") as partial:
        partial.write_text(report(results, facts, settings), encoding="utf-8")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the tables depend on."""
    return {
        "dataset": options.dataset,
        "calibration_images": options.calibration_images,
        "seed": options.seed,
    }


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number of 1 or more, got {text!r}")
    return int(text)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--networks", nargs="+", metavar="NAME", help=", ".join(n.name for n in NETWORKS))
    add(
        "--methods",
        nargs="+",
        metavar="NAME",
        default=[method.name for method in METHODS],
        help="default: all; " + ", ".join(method.name for method in METHODS),
    )
    add("--T", type=_positive, nargs="+", metavar="N", help=f"default: {STEPS}, some methods fewer")
    add("--limit", type=_positive, metavar="N", help="test images, evenly spaced (all)")
    add("--dataset", choices=DATASETS, default="cifar10", help="(%(default)s)")
    add("--data", type=Path, metavar="DIR", default=DATA, help="(../shared/data)")
    add(
        "--weights",
        action="append",
        metavar="NAME=FILE",
        default=[],
        help="a network of your own; may be repeated",
    )
    add("--calibration-images", type=_positive, metavar="N", default=CALIBRATION_IMAGES)
    add("--seed", type=int, metavar="N", default=0, help="draws them (%(default)s)")
    add("--threads", type=_positive, metavar="N", help="default: torch's own choice")
    add("--out", type=Path, metavar="DIR", default=OUT, help="(bench/results/accuracy)")
    add("--tables", action="store_true", help="measure nothing, write tables and plots")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
