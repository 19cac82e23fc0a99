"""The machine's own ceilings, measured the same hour as what is held against them.

    python bench/peaks.py [--device cuda] [--json FILE]

A copy of a buffer far larger than any cache gives the memory bandwidth (bytes read plus bytes
written); square matrix products on random data give the arithmetic rates, the best of
several sizes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch
from torch import Tensor

from gate import first_line
from machine import machine_facts, machine_line
from options import add_device, script_parser
from report import table, write_json
from spikeconv.allocator import keep_freed_memory
from timing import Times, interleaved, stopwatch_for

COLUMNS = ("name", "rate", "unit", "size", "ms", "q25", "q75")
GIB = 2**30


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write."""
    options = _parse(arguments)
    device = torch.device(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    facts = machine_facts(device)
    print(machine_line(facts))
    source = torch.randn(int(options.copy_gib * GIB) // 4, device=device)
    target = torch.empty_like(source)
    copied = interleaved(
        {"copy": partial(target.copy_, source)}, options.rounds, stopwatch_for(device)
    )
    rows = [_row("copy", copied["copy"], 2 * source.nbytes / 1e9, "GB/s")]
    rows += matrix_peaks(options.size, device, options.rounds)
    print(table(rows, COLUMNS))
    if options.json is not None:
        setting = {key: getattr(options, key) for key in ("size", "copy_gib", "device", "rounds")}
        write_json(options.json, {"machine": facts, "setting": setting, "rows": rows})
    return 0


def matrix_peaks(sizes: list[int], device: torch.device, rounds: int) -> list[dict[str, object]]:
    """A row for every product that this device has: the size with the best rate of `sizes`."""
    best: dict[str, dict[str, object]] = {}
    for size in sizes:
        tasks: dict[str, Callable[[], object]] = {}
        for name, product in products(size, device).items():
            try:
                product()
            except RuntimeError as error:  # that this device or build of torch lacks, or its memory
                print(f"not timed: {name} of {size}: {first_line(error)}", file=sys.stderr)
                continue
            tasks[name] = product
        for name, taken in interleaved(tasks, rounds, stopwatch_for(device)).items():
            row = {**_row(name, taken, 2 * size**3 / 1e12, "Top/s"), "size": size}
            if name not in best or row["rate"] > best[name]["rate"]:  # type: ignore[operator]
                best[name] = row
    return list(best.values())


def _row(name: str, taken: Times, amount: float, unit: str) -> dict[str, object]:
    seconds = {"ms": taken.median * 1e3, "q25": taken.q25 * 1e3, "q75": taken.q75 * 1e3}
    return {"name": name, "rate": amount / taken.median, "unit": unit, **seconds}


def products(size: int, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Square matrix products by name; random operands, since zeros run faster than real data."""

    def pair(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if dtype == torch.int8:
            a, b = (torch.randint(-128, 128, (size, size), device=device) for _ in range(2))
        else:
            a, b = (torch.randn(size, size, device=device) for _ in range(2))
        # The second operand column by column: the layout that int8 units read.
        return a.to(dtype), b.to(dtype).t()

    def in_tf32(a: Tensor, b: Tensor) -> Tensor:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = True
        product = a @ b
        torch.backends.cuda.matmul.allow_tf32 = before
        return product

    found: dict[str, Callable[[], Tensor]] = {
        "matmul float32": partial(torch.matmul, *pair(torch.float32)),
        "matmul bfloat16": partial(torch.matmul, *pair(torch.bfloat16)),
        "matmul int8": partial(torch._int_mm, *pair(torch.int8)),
    }
    if device.type == "cuda":
        found["matmul tf32"] = partial(in_tf32, *pair(torch.float32))
    return found


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__, rounds=11)
    add_device(parser, "cpu")
    parser.add_argument("--threads", type=int, help="default: torch's own choice")
    parser.add_argument("--size", type=int, nargs="+", help="rows of the matrices")
    parser.add_argument("--copy-gib", type=float, help="size of the buffer that is copied")
    options = parser.parse_args(arguments)
    on_gpu = options.device == "cuda"
    options.size = options.size or ([4096, 8192, 16384] if on_gpu else [2048])
    options.copy_gib = options.copy_gib or (4.0 if on_gpu else 0.25)
    if options.smoke:
        options.size, options.copy_gib, options.rounds = [32, 64], 0.001, 3
    return options


if __name__ == "__main__":
    sys.exit(main())
