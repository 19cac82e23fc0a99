"""Whole networks on a GPU: every batch and T, against the ANN, plain torch and SpikingJelly.

    python bench/gpu_networks.py --json FILE [--minutes 8]

Settings come in the order of their weight, and each is written as soon as it is measured. What FILE
holds of this commit is not measured again, so that a run of a few minutes goes on where the last
one ended: with the setting that it ended in, where there is a quarter more time for it, and at the
end what failed; --fresh begins anew. Who gives wrong classes gets no number, and the exit status is
1, that of later runs too; who runs out of memory, or cannot run here, is named with the reason. On
a CPU, --smoke shows that the script runs.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is loaded

import torch
from torch import Tensor

from contestants import convert_network
from gate import Contestant, Gate, first_line
from gpu_contest import GpuContest, build_contest, right_classes, verdict
from machine import machine_facts, machine_line
from memory import peak_memory_mb
from network_rows import rows_of, shown
from networks import Images
from options import add_device, script_parser, torch_compiler
from report import write_json
from spikeconv.precision import without_tf32
from timing import interleaved, stopwatch_for

NETWORKS = (("resnet18", 224), ("resnet20", 32), ("resnet34", 224), ("vgg16", 224))
BATCHES = (64, 1, 8, 256)
STEPS = (16, 4, 8, 32)

PARTLY = 75
"""Exit status of a run that ended before all settings were measured; the next one goes on."""


OUT_OF_TIME = "out of time"


@dataclass(frozen=True)
class Setting:
    """One table: a network, its images, T, and which contestants."""

    model: str
    image_size: int
    batch: int
    T: int
    compiled: bool

    def __str__(self) -> str:
        kind = "-compiled" if self.compiled else ""
        return f"{self.model}-{self.image_size}px-b{self.batch}-T{self.T}{kind}"


def plan(models: list[str] | None = None) -> list[Setting]:
    """All settings: T = 16 before the others, batches of 64 and 1 first, what compiles after."""
    networks = [one for one in NETWORKS if models is None or one[0] in models]
    main = [
        Setting(model, size, batch, 16, compiled)
        for compiled in (False, True)
        for (model, size), batch in itertools.product(networks, BATCHES[:2])
    ]
    every = [
        Setting(model, size, batch, T, compiled)
        for compiled in (False, True)
        for T, batch, (model, size) in itertools.product(STEPS, BATCHES, networks)
    ]
    return list(dict.fromkeys(main + every))


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing while there is time; 1 if something was wrong, 75 if some is left."""
    options = _parse(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    device = torch.device(options.device)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    facts = machine_facts(device)
    print(machine_line(facts))
    result: dict[str, Any] = {"machine": facts, "tables": {}}
    if not options.fresh and options.json.exists():
        result["tables"] = json.loads(options.json.read_text())["tables"]
    tables = result["tables"]
    kept = {name: one for name, one in tables.items() if one["commit"] == facts["commit"]}
    settings = [Setting("resnet20", 8, 2, 3, c) for c in (False, True)]
    settings = settings if options.smoke else plan(options.models)
    whole = 60 * options.minutes
    missing = [one for one in settings if _is_missing(kept.get(str(one)), whole)]
    missing.sort(key=lambda one: "error" in kept.get(str(one), {}))  # these may fail once more
    failed = False
    for setting, ann, snn in _networks(missing, options, device):
        left = deadline - time.monotonic()
        if left <= 0:
            print(f"\nout of time before {setting}; the next run goes on there")
            break
        name = str(setting)
        if not _is_missing(kept.get(name), left):  # it had more time before
            continue
        try:
            found = measure(ann, snn, setting, options, device, deadline)
        except Exception as error:  # one setting's, which must not take the others' numbers along
            traceback.print_exc()
            found = {"setting": asdict(setting), "rows": [], "error": first_line(error)}
            failed = True
        before = kept.get(name, {"rows": []})
        if len(before["rows"]) > len(found["rows"]):
            found = before
        kept[name] = tables[name] = {**found, "commit": facts["commit"], "had_s": left}
        write_json(options.json, result)
    done = sum(not _is_missing(kept.get(str(setting)), whole) for setting in settings)
    print(f"\n{done} of {len(settings)} settings are in {options.json}")
    if failed or any(one.get("error") or one.get("refused") for one in kept.values()):
        return 1
    return 0 if done == len(settings) else PARTLY


def _is_missing(kept: dict[str, Any] | None, seconds: float) -> bool:
    """Whether so many seconds may give a table that is not there, or more than there is of it."""
    if kept is None or kept.get("error"):
        return True
    # Of a whole run the first moments go by before a table begins.
    cut = OUT_OF_TIME in kept.get("skipped", {}).values()
    return cut and seconds > 1.25 * kept.get("had_s", 0.0)


def _networks(
    settings: list[Setting], options: argparse.Namespace, device: torch.device
) -> Iterator[tuple[Setting, Any, Any]]:
    """The settings with their networks, each of which is converted once."""
    made: dict[tuple[str, int], tuple[Any, Any]] = {}
    for setting in settings:
        network = (setting.model, setting.image_size)
        if network not in made:
            images = 8 if options.smoke else 128
            made[network] = convert_network(*network, STEPS[0], images, device)
        yield setting, *made[network]
        _free(device)


def _free(device: torch.device) -> None:
    torch._dynamo.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def measure(
    ann: Any,
    snn: Any,
    setting: Setting,
    options: argparse.Namespace,
    device: torch.device,
    deadline: float,
) -> dict[str, Any]:
    """One table: everybody who gives the right classes, timed in turns."""
    print(f"\n{setting}", flush=True)
    x = Images(setting.image_size).draw(setting.batch, seed=1000)[0].to(device)
    with torch.no_grad():
        compiler = torch_compiler(options.smoke)
        contest = build_contest(ann, snn, setting.T, compiler=compiler, compiled=setting.compiled)
        with without_tf32():  # which moves spikes, and with them classes of two correct networks
            gate, single = admit(contest, x, stopwatch_for(device), deadline)
        tasks = {one.name: partial(contest.entries[one.name].run, x) for one in gate.admitted}
        seconds = max(5.0, min(options.seconds, deadline - time.monotonic()))
        rounds = max(1, min(options.rounds, int(seconds / max(1e-9, sum(single.values())))))
        least = 0.02 if device.type == "cuda" else 0.0
        # In the first call with TF32 graphs are captured and cuDNN looks for its algorithms.
        times = interleaved(tasks, rounds, stopwatch_for(device), warmup=2, min_seconds=least)
        peaks = {name: peak_memory_mb(task, device) for name, task in tasks.items()}
    about = {**asdict(setting), "rounds": rounds}
    return shown(about, rows_of(times, peaks, setting.batch), gate)


def admit(
    contest: GpuContest, x: Tensor, stopwatch: Any, deadline: float
) -> tuple[Gate, dict[str, float]]:
    """Let in who gives the right classes while there is time; and the seconds of one call each."""
    gate = Gate(skipped=dict(contest.skipped))
    right = right_classes(contest, x)
    single: dict[str, float] = {}
    for name, one in contest.entries.items():
        if time.monotonic() > deadline:
            gate.skipped[name] = OUT_OF_TIME
            continue
        contestant = Contestant(name, partial(one.run, x), may_be_missing=one.may_be_missing)
        admitted = len(gate.admitted)
        gate.pass_all([contestant], lambda c, found: verdict(contest, right, c.name, x, found))
        if len(gate.admitted) > admitted:
            single[name] = stopwatch(contestant.run, 1)
    return gate, single


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__, rounds=7, json_required=True)
    add_device(parser, "cuda")
    parser.add_argument("--models", nargs="+", choices=[name for name, _ in NETWORKS])
    parser.add_argument("--minutes", type=float, default=60.0, help="begin nothing after them")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a table; may cut rounds")
    parser.add_argument("--fresh", action="store_true", help="measure again what FILE holds")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds = 2
    return options


if __name__ == "__main__":
    sys.exit(main())
