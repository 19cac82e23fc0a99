"""What training through one population costs: time forwards and back, and memory kept between.

    python bench/backward.py [--device cuda] [--json FILE]

Each contestant turns the same current [T, N] into spikes (v_init 0, threshold 1) and hands the same
gradient of the spikes back to the current, with the same surrogate. That gradient must equal the
reference's to 1e-6 of its largest value (in 16 bits: to the last bit of the dtype) before anything
is timed; otherwise the contestant gets no number and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from functools import partial

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch
from torch import Tensor

import spikeconv
from gate import Contestant, Gate
from kept_for_backward import saved_by
from machine import machine_facts, machine_line
from memory import peak_memory_mb
from options import add_allocator, add_population, script_parser, torch_compiler
from ours import BACKENDS, DTYPES, runnable
from report import table, write_json
from rivals import Scan, spikingjelly_missing
from spikeconv.allocator import keep_freed_memory
from spikeconv.surrogate import ATan, Surrogate
from timing import interleaved, stopwatch_for
from train_rivals import ALPHA, spikingjelly_if, torch_loop

RESETS = ("soft", "hard")
KEYS = ("dtype", "reset", "name")
FIGURES = (
    "ns_per_element", "q25", "q75", "times_clone", "saved_bytes", "saved_beside_x", "peak_mb",
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What everyone computes: a current that wants a gradient, and the gradient of the spikes."""

    x: Tensor
    grad_spikes: Tensor
    reset: str

    def gradient(self, scan: Scan) -> Tensor:
        """Once forwards and back."""
        (grad,) = torch.autograd.grad(scan(self.x), self.x, self.grad_spikes)
        return grad


class OwnATan(Surrogate):
    """The same derivative as a user's own, which no kernel knows."""

    def derivative(self, u: Tensor) -> Tensor:
        return ATan(ALPHA).derivative(u)


def main(arguments: list[str] | None = None) -> int:
    """Check, time, print and write; 1 if a contestant's gradient was wrong."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    warm = options.allocator == "warm" and keep_freed_memory()
    facts = machine_facts(torch.device(options.device)) | {"allocator_warm": warm}
    print(machine_line(facts))
    print(f"x = [{options.T}, {options.N}]; median and quartiles of {options.rounds} rounds\n")
    rows: list[dict[str, object]] = []
    unfit: dict[str, dict[str, str]] = {"skipped": {}, "refused": {}}
    for dtype in options.dtypes:
        for reset in options.resets:
            problem = pose(options.T, options.N, DTYPES[dtype], options.device, reset)
            scans, gate = _admit(options, problem)
            rows += [
                {"dtype": dtype, "reset": reset, **row}
                for row in _time(options, problem, scans, gate.admitted)
            ]
            here = f"{dtype} {reset}"
            unfit["skipped"] |= {f"{here} {key}": why for key, why in gate.skipped.items()}
            unfit["refused"] |= {f"{here} {key}": why for key, why in gate.refused.items()}
            if gate.report():
                print(f"{here}:\n{gate.report()}", file=sys.stderr)
    print(table(rows, (*KEYS, *FIGURES)))
    if options.json is not None:
        setting = {key: getattr(options, key) for key in ("T", "N", "device", "rounds", "smoke")}
        write_json(options.json, {"machine": facts, "setting": setting, "rows": rows, **unfit})
    return 1 if unfit["refused"] else 0


def pose(T: int, N: int, dtype: torch.dtype, device: str, reset: str) -> Problem:
    """Noise under which a quarter of the neurons fires at each step, and noise as its gradient."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(T, N, generator=generator).mul_(0.5).add_(0.25)
    grad = torch.randn(T, N, generator=generator)
    return Problem(
        x.to(device=device, dtype=dtype).requires_grad_(),
        grad.to(device=device, dtype=dtype),
        reset,
    )


def ours(backend: str, reset: str, surrogate: Surrogate) -> Scan:
    """One of our backends."""

    def scan(x: Tensor) -> Tensor:
        spikes, _ = spikeconv.if_multistep(
            x, reset=reset, return_v=None, surrogate=surrogate, backend=backend
        )
        return spikes

    return scan


def contestants(problem: Problem, backends: list[str], compiler: str) -> dict[str, Scan]:
    """Everyone by name; those with "compiled" in it need a compiler."""
    hard = problem.reset == "hard"
    found = {f"spikeconv-{name}": ours(name, problem.reset, ATan(ALPHA)) for name in backends}
    found |= {
        f"spikeconv-{name}-own": ours(name, problem.reset, OwnATan()) for name in backends[:1]
    }
    found["torch-loop"] = torch_loop(hard)
    found["torch-loop-compiled"] = torch.compile(torch_loop(hard), dynamic=False, backend=compiler)
    if spikingjelly_missing() is None:
        found["spikingjelly"] = spikingjelly_if(problem.x.dtype, hard)
    return found


def verdict(problem: Problem, wanted: Tensor, contestant: Contestant, got: Tensor) -> str | None:
    """None if a gradient is the reference's, else what is wrong with it."""
    if contestant.name == "clone":
        return None if torch.equal(got, problem.x) else "is no copy"
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        return f"wanted {wanted.dtype} {list(wanted.shape)}, got {got.dtype} {list(got.shape)}"
    unit = max(1e-6, 2 * torch.finfo(got.dtype).eps if got.dtype != torch.float32 else 0.0)
    off = (got.float() - wanted.float()).abs().max() / wanted.float().abs().max()
    return None if off <= unit else f"is off by {off:.2g} of its largest value, at most {unit:.2g}"


def _admit(options: argparse.Namespace, problem: Problem) -> tuple[dict[str, Scan], Gate]:
    gate = Gate()
    able, unable = runnable(options.backends)
    gate.skipped |= {f"spikeconv-{name}": reason for name, reason in unable.items()}
    if (missing := spikingjelly_missing()) is not None:
        gate.skipped["spikingjelly"] = missing
    # Without a compiled backend the reference stands for what a user of this machine gets.
    scans = contestants(problem, able or ["reference"], options.compiler)
    field = [Contestant("clone", problem.x.detach().clone)]
    field += [
        Contestant(name, partial(problem.gradient, scan), may_be_missing="compiled" in name)
        for name, scan in scans.items()
    ]
    wanted = problem.gradient(ours("reference", problem.reset, ATan(ALPHA)))
    gate.pass_all(field, partial(verdict, problem, wanted))
    return scans, gate


def _time(
    options: argparse.Namespace,
    problem: Problem,
    scans: dict[str, Scan],
    admitted: list[Contestant],
) -> list[dict[str, object]]:
    device = torch.device(options.device)
    times = interleaved(
        {contestant.key: contestant.run for contestant in admitted},
        options.rounds,
        stopwatch_for(device),
        min_seconds=0.02 if device.type == "cuda" else 0.0,
    )
    elements = problem.x.numel()
    rows = []
    for contestant in admitted:
        taken = times[contestant.key]
        row: dict[str, object] = {
            "name": contestant.name,
            "ns_per_element": taken.median / elements * 1e9,
            "q25": taken.q25 / elements * 1e9,
            "q75": taken.q75 / elements * 1e9,
            "times_clone": taken.median / times["clone"].median,
            "peak_mb": peak_memory_mb(contestant.run, device),
        }
        if contestant.name in scans:
            saved = saved_by(partial(scans[contestant.name], problem.x), problem.x)
            row["saved_bytes"] = saved.bytes / elements
            row["saved_beside_x"] = saved.beside / elements
        rows.append(row)
    return rows


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__, rounds=9)
    add_population(parser, T=8, N=2**20)
    parser.add_argument("--resets", nargs="+", choices=RESETS, default=list(RESETS))
    add_allocator(parser)
    options = parser.parse_args(arguments)
    if options.smoke:
        options.T, options.N, options.rounds = 4, 1003, 2
    options.compiler = torch_compiler(options.smoke)
    options.backends = options.backends or list(BACKENDS[options.device])
    return options


if __name__ == "__main__":
    sys.exit(main())
