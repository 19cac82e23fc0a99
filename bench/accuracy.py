"""Accuracy of every method at every T on whole test sets, beside goals and published figures.

    python bench/accuracy.py [--networks resnet20-shared] [--methods opi best] [--T 4 8]
    python bench/accuracy.py --quick     # a few cells on 2,000 images, beside the full table

Every cell is kept as soon as it is measured, so the same command goes on where it was stopped. With
all methods and images it takes days on two cores; ``--arithmetic int16`` runs networks in a fifth
of the time, ``--device cuda`` on a GPU. What matters most comes first. Tables and plots are written
when it ends; ``--tables`` does only that.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch

import accuracy_quick
import accuracy_smoke
from accuracy_plots import draw
from accuracy_quick import compare, verdict
from accuracy_tables import goals, methods, report
from cells import ARITHMETICS, Cells
from lookup import Results, steps_of
from machine import Facts, machine_facts, machine_line
from methods import METHODS, STEPS, Method, by_name, own_method
from report import write_json
from scan import Task, estimate, missing, plan, run
from spikeconv.allocator import keep_freed_memory
from spikeconv.cli.arguments import check_device, numbers, positive, seed
from spikeconv.data import DATASETS
from spikeconv.output import check_folder, check_output, replacing
from spikeconv.precision import without_tf32
from trained import HERE, NETWORKS, Network, load, own_network, size_of_test_set

OUT = HERE / "results" / "accuracy"
DATA = HERE.parent.parent / "shared" / "data"
CELLS = "cells.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0; 1 for what is wrong with arguments or files, or where ``--quick`` differs from the full
        table; 130 if it was interrupted.
    """
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    if options.smoke:
        return _smoke()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    device = torch.device(options.device)
    try:
        check_device(options.device)
        facts = machine_facts(device)
        print(machine_line(facts))
        if not options.quick:
            _check_folder(options.out)
        table = Cells(options.out / CELLS)
        results = open_results(options, Cells(None) if options.quick else table)
        tasks = _plan(options, results)
    except (ValueError, TypeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    try:
        stopped = not options.tables and _measure(tasks, results, facts, options.arithmetic, device)
    # Settings that convert refuses, or a disk that is full; what was measured is kept.
    except (ValueError, TypeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.quick:
        text, agrees = verdict(compare(tasks, results.cells, table))
        print(f"\n{text}")
        return 130 if stopped else 0 if agrees else 1
    write(options.out, results, facts, _settings(options))
    shown = goals(results) or "\n\n".join(methods(results, n) for n in results.loaded)
    print(f"\n{shown}\n\nwrote {options.out}")
    return 130 if stopped else 0


def _check_folder(out: Path) -> None:
    """Raise ValueError or OSError where the table cannot be written, before it is measured."""
    check_folder("--out", out)
    out.mkdir(parents=True, exist_ok=True)
    check_output(out / CELLS)
    if (out / "README.md").exists() and not (out / CELLS).exists():
        raise ValueError(f"--out: {out} holds a README.md of something else; choose another folder")


def _smoke() -> int:
    """Make the table of a tiny network, twice: the second time nothing is left to measure."""
    with tempfile.TemporaryDirectory() as folder:
        weights, out = Path(folder, "tiny.pt"), Path(folder, "out")
        accuracy_smoke.write_weights(weights)
        command = [*accuracy_smoke.ARGUMENTS, "--weights", f"tiny={weights}", "--out", str(out)]
        return main(command) or main(command)


def _plan(options: argparse.Namespace, results: Results) -> list[Task]:
    """The cells that were asked for, the most important first."""
    networks = [(n, results.loaded[n.name]) for n in wanted(options) if n.name in results.loaded]
    if options.quick:
        chosen = accuracy_quick.methods()
    elif options.methods:
        chosen = [by_name(name, results.methods) for name in options.methods]
    else:
        chosen = list(results.methods[len(METHODS) :] or METHODS)  # a user's own, else all
    limit = options.limit or (accuracy_quick.IMAGES if options.quick else None)
    tasks = plan(networks, chosen, options.T, limit, options.calibration_images, options.seed)
    return accuracy_quick.kept(tasks) if options.quick else tasks


def _measure(
    tasks: Sequence[Task], results: Results, facts: Facts, arithmetic: str, device: torch.device
) -> bool:
    """Measure the tasks that have no cell yet; whether that was interrupted."""
    cells = results.cells
    todo = missing(tasks, cells, arithmetic)
    print(
        f"{len(tasks)} cells wanted, {len(tasks) - len(todo)} are there, {len(todo)} to measure: "
        f"about {timedelta(seconds=round(estimate(todo, cells, arithmetic)))} h\n"
    )
    known = ("machine", "gpu", "torch", "commit", "time")
    made = {key: facts[key] for key in known if key in facts}
    try:
        with without_tf32():
            run(todo, results.loaded, cells, made, arithmetic, device)
    except KeyboardInterrupt:
        print("\nstopped: all finished cells are kept; the same command goes on", file=sys.stderr)
        return True
    return False


def wanted(options: argparse.Namespace) -> list[Network]:
    """The networks to measure: those named, else your own, else all (of --quick, its own)."""
    own = _own(options)
    if options.networks is None:
        quick = [n for n in _known(options) if n.name in accuracy_quick.NETWORKS]
        return own or (quick if options.quick else _known(options))
    names = {network.name: network for network in (*_known(options), *own)}
    for name in options.networks:
        if name not in names:
            raise ValueError(
                f"--networks: wanted some of {', '.join(names) or 'none'} for {options.dataset}, "
                f"got {name!r}; --weights NAME=FILE adds your own"
            )
    return [names[name] for name in dict.fromkeys(options.networks)]


def open_results(options: argparse.Namespace, cells: Cells) -> Results:
    """All networks of the tables, those that are there in memory."""
    networks = [*_known(options), *_own(options)]
    if not networks:
        raise ValueError(
            f"--dataset {options.dataset}: no network is known for it; add --weights NAME=FILE"
        )
    loaded, absent = {}, {}
    for network in networks:
        reason = network.missing(options.data)
        if reason is None:
            loaded[network.name] = load(network, options.data)
        else:
            absent[network.name] = reason
            print(f"not measured: {network.name}: {reason}", file=sys.stderr)
    rows = (*METHODS, *_combined(options))
    count, seed = options.calibration_images, options.seed
    columns = steps_of(cells, networks, seed, options.T or ())
    # Keys of networks that are here say it.
    whole = size_of_test_set(options.dataset, options.data) if absent else 0
    return Results(cells, networks, loaded, absent, count, seed, columns, rows, whole)


def write(out: Path, results: Results, facts: Facts, settings: dict[str, Any]) -> None:
    """Write JSON, tables and plots."""
    out.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "settings": settings, "networks": results.to_dict()}
    write_json(out / "accuracy.json", content)
    try:
        pictures = draw(out, results)
    except ImportError as error:
        print(f"no plots: {error}", file=sys.stderr)
        pictures = []
    with replacing(out / "README.md") as partial:
        text = report(results, facts, settings, {picture.name for picture in pictures})
        partial.write_text(text, encoding="utf-8")


def _known(options: argparse.Namespace) -> list[Network]:
    return [network for network in NETWORKS if network.dataset == options.dataset]


def _own(options: argparse.Namespace) -> list[Network]:
    given = options.dataset, options.mean, options.std, options.pooling
    for option, value in zip(("--mean", "--std", "--pooling"), given[1:], strict=True):
        if value is not None and not options.weights:
            raise ValueError(
                f"{option}: wanted --weights NAME=FILE, your own network that it is of, because "
                f"those of the table have theirs; got {option} alone"
            )
    networks = [own_network(text, *given) for text in options.weights]
    _check_once("--weights", [network.name for network in networks])
    return networks


def _combined(options: argparse.Namespace) -> list[Method]:
    rows = list(map(own_method, options.combine))
    _check_once("--combine", [row.name for row in rows])
    return rows


def _check_once(option: str, names: Sequence[str]) -> None:
    """Raise ValueError for a name that is given to two things."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{option}: {twice[0]} is there twice; take another name")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What all cells of the tables have in common."""
    return {"dataset": options.dataset, "seed": options.seed}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    known = ", ".join(network.name for network in NETWORKS)
    add("--networks", nargs="+", metavar="NAME", help=f"{known}, or of --weights (all)")
    names = [method.name for method in METHODS]
    add("--methods", nargs="+", metavar="NAME", help=f"{', '.join(names)} (all)")
    add(
        "--combine",
        action="append",
        metavar="NAME=JSON",
        default=[],
        help="a method of your own, any arguments of spikeconv.convert; may be repeated; without "
        "--methods only these are measured",
    )
    steps = " ".join(map(str, STEPS))
    add("--T", type=positive, nargs="+", metavar="N", help=f"({steps}; of some methods fewer)")
    add("--limit", type=positive, metavar="N", help="test images, evenly spaced (all)")
    add("--dataset", choices=DATASETS, default="cifar10", help="(%(default)s)")
    add("--data", type=Path, metavar="DIR", default=DATA, help="(../shared/data)")
    add(
        "--weights",
        action="append",
        metavar="NAME=FILE",
        default=[],
        help="a network of your own; may be repeated; without --networks only these are measured",
    )
    add(
        "--mean",
        type=numbers,
        metavar="A,B,C",
        help="of your networks' images (what the weights say, else ImageNet's)",
    )
    add("--std", type=numbers, metavar="A,B,C", help="likewise")
    add("--pooling", choices=("max", "avg"), help="of weights that do not say it (max)")
    add(
        "--calibration-images",
        type=positive,
        metavar="N",
        help="of the training set (512; 1024 of the network that was trained with a step here)",
    )
    add("--seed", type=seed, metavar="N", default=0, help="draws them (%(default)s)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to run (%(default)s)")
    add("--threads", type=positive, metavar="N", help="CPU threads (torch's choice)")
    add(
        "--arithmetic",
        choices=ARITHMETICS,
        default=ARITHMETICS[0],
        help="the simulation in float32, or the integer program, which is faster (%(default)s)",
    )
    add("--out", type=Path, metavar="DIR", default=OUT, help="(bench/results/accuracy)")
    add("--tables", action="store_true", help="measure nothing, write tables and plots")
    add("--quick", action="store_true", help="a few cells on 2,000 images beside the full table")
    add("--smoke", action="store_true", help="tiny, alone: does it run at all")
    options = parser.parse_args(arguments)
    if options.smoke and len(arguments) > 1:
        parser.error(
            "--smoke must be the only option, because it measures a network, data and methods of "
            f"its own; got {' '.join(arguments)}"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
