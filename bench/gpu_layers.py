"""How fast one layer of the integer program is on a GPU, beside the peaks and cuDNN's convolution.

    python bench/gpu_layers.py [--device cuda] [--json FILE]

Each layer is a convolution of 3 x 3 with its neurons, all T steps in one kernel. Its spikes must be
the reference's bit for bit before it is timed; otherwise it gets no number and the exit status is
1. cuDNN runs the convolution alone, on T times the images. On a CPU the kernels run in Triton's
interpreter: that checks this script, and says nothing about speed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

if any(argument == "cpu" or argument.endswith("=cpu") for argument in sys.argv[1:]):
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read where a kernel is defined

import torch
import torch.nn.functional as F
from torch import Tensor

from gate import Contestant, Gate
from machine import machine_facts, machine_line
from options import add_device, script_parser
from peaks import matrix_peaks
from report import table, write_json
from spikeconv.fuse.engine import IntegerProgram, Source
from spikeconv.fuse.gpu import Fields, TritonEngine
from spikeconv.fuse.layer import Convolution, IntegerLayer, Shortcut
from spikeconv.fuse.stepwise import ReferenceEngine
from timing import interleaved, stopwatch_for

COLUMNS = ("layer", "name", "ms", "q25", "q75", "top_per_s", "peak_share", "times_cudnn_tf32")
DENSITY = 0.15
CHECKED = 2  # images


@dataclass(frozen=True)
class Shape:
    """A layer: channels in and out, height and width, batch, T, and what its neurons are."""

    channels: int
    size: int
    batch: int
    T: int
    signed: bool = False
    shortcut: bool = False

    def __str__(self) -> str:
        kind = ("signed " if self.signed else "") + ("+shortcut " if self.shortcut else "")
        return f"{kind}{self.channels}ch {self.size}px b{self.batch} T{self.T}"

    @property
    def operations(self) -> float:
        """Multiplications and additions of the convolution over all steps and images."""
        return 2.0 * 9 * self.channels**2 * self.size**2 * self.batch * self.T


def shapes(batch: int, T: int) -> list[Shape]:
    """Those of ResNet-18 at 224 x 224, plain; and of 128 channels, in every form."""
    plain = [Shape(c, s, batch, T) for c, s in ((64, 56), (128, 28), (256, 14), (512, 7))]
    forms = [(False, True), (True, False), (True, True)]
    return plain + [Shape(128, 28, batch, T, *form) for form in forms]


def main(arguments: list[str] | None = None) -> int:
    """Check, time, print and write; 1 if a layer's spikes were wrong."""
    options = _parse(arguments)
    device = torch.device(options.device)
    torch.backends.cudnn.benchmark = True
    facts = machine_facts(device)
    print(machine_line(facts))
    peaks = {
        str(row["name"]): row for row in matrix_peaks(options.peak_size, device, options.rounds)
    }
    peak = peaks.get("matmul int8", {}).get("rate")
    rows: list[dict[str, object]] = []
    unfit: dict[str, dict[str, str]] = {"skipped": {}, "refused": {}}
    chosen = [Shape(8, 4, 2, 3, True, True)] if options.smoke else shapes(options.batch, options.T)
    for shape in chosen:
        gate = Gate()
        with torch.no_grad():
            runs, few, wanted = contestants(shape, device)
            gate.pass_all(runs, partial(_verdict, few, wanted))
            tasks = {one.name: one.run for one in gate.admitted}
            least = 0.02 if device.type == "cuda" else 0.0
            times = interleaved(tasks, options.rounds, stopwatch_for(device), min_seconds=least)
        unfit["skipped"] |= {f"{shape} {name}": why for name, why in gate.skipped.items()}
        unfit["refused"] |= {f"{shape} {name}": why for name, why in gate.refused.items()}
        cudnn = times.get("cudnn-tf32")
        for name, taken in times.items():
            rate = shape.operations / taken.median / 1e12
            rows.append(
                {
                    "layer": str(shape),
                    "channels": shape.channels,
                    "name": name,
                    "ms": taken.median * 1e3,
                    "q25": taken.q25 * 1e3,
                    "q75": taken.q75 * 1e3,
                    "top_per_s": rate,
                    "peak_share": rate / peak if isinstance(peak, float) else None,
                    "times_cudnn_tf32": taken.median / cudnn.median if cudnn else None,
                }
            )
        _keep(options, facts, peaks, rows, unfit)
        if gate.report():
            print(f"{shape}:\n{gate.report()}", file=sys.stderr)
    print(table(list(peaks.values()), ("name", "rate", "unit", "size")))
    print(table(rows, COLUMNS))
    return 1 if unfit["refused"] else 0


def contestants(
    shape: Shape, device: torch.device
) -> tuple[list[Contestant], dict[str, Callable[[], Tensor]], Tensor]:
    """Who is timed; by name of ours, what gives the spikes of a few images; and what they are."""
    layer, source = make_layer(shape, device)
    program = IntegerProgram({"n": layer}, {}, {"s": source, "n": fired_source(shape)})
    train = make_train(shape, device)
    reference = ReferenceEngine(program)
    asked = {"want_spikes": True, "want_count": False, "want_state": False}
    few_train = train[:, :CHECKED]
    wanted: Tensor = reference.run_layer(layer, {"s": few_train}, None, **asked).spikes
    runs: list[Contestant] = []
    few: dict[str, Callable[[], Tensor]] = {}
    for multiply in ("int8", "bf16"):
        engine = TritonEngine(program, multiply=multiply)
        packed, few_packed = engine.pack("s", train), engine.pack("s", few_train)

        def run(engine: TritonEngine = engine, spikes: Fields = packed) -> Tensor:
            fields: Fields = engine.run_layer(layer, {"s": spikes}, None, **asked).spikes
            return fields.data

        def fired(engine: TritonEngine = engine, spikes: Fields = few_packed) -> Tensor:
            return engine.unpack("n", engine.run_layer(layer, {"s": spikes}, None, **asked).spikes)

        runs.append(Contestant(f"spikeconv-{multiply}", run))
        few[f"spikeconv-{multiply}"] = fired
    images, weight = train.flatten(0, 1), layer.convolutions[0].weight
    for name, dtype in (("cudnn-tf32", torch.float32), ("cudnn-bf16", torch.bfloat16)):
        x = images.to(dtype).contiguous(memory_format=torch.channels_last)
        w = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        runs.append(Contestant(name, partial(_convolve, x, w)))
    return runs, few, wanted


def make_layer(shape: Shape, device: torch.device) -> tuple[IntegerLayer, Source]:
    """Random weights, thresholds at which some of the neurons fire, and what they read."""
    generator = torch.Generator().manual_seed(0)
    C = shape.channels
    weight = torch.randint(-127, 128, (C, C, 3, 3), generator=generator).to(torch.int8)
    theta = torch.full((C,), int(40 * C**0.5), dtype=torch.int32)
    cuts = (Shortcut("s", theta // 2),) if shape.shortcut else ()
    layer = IntegerLayer(
        "n",
        (C, shape.size, shape.size),
        (Convolution("s", weight.to(device), padding=(1, 1)),),
        tuple(Shortcut(one.source, one.coefficient.to(device)) for one in cuts),
        0,
        theta.to(device),
        (theta // 2).to(device),
        torch.zeros(1, C, dtype=torch.int32, device=device),
        shape.signed,
        torch.ones(C, dtype=torch.float64),
        64,
    )
    return layer, Source("s", layer.shape, 1, shape.signed, (0, 0, 0, 0))


def fired_source(shape: Shape) -> Source:
    """The layer's own spikes."""
    return Source("n", (shape.channels, shape.size, shape.size), 1, shape.signed, (0, 0, 0, 0))


def make_train(shape: Shape, device: torch.device) -> Tensor:
    """Random spikes int8 ``[T, B, C, H, W]``, of which a seventh are not 0."""
    torch.manual_seed(0)
    size = (shape.T, shape.batch, shape.channels, shape.size, shape.size)
    fired = (torch.rand(size, device=device) < DENSITY).to(torch.int8)
    if shape.signed:
        fired *= 1 - 2 * (torch.rand(size, device=device) < 0.3).to(torch.int8)
    return fired


def _convolve(x: Tensor, w: Tensor) -> Tensor:
    return F.conv2d(x, w, padding=1)


def _verdict(
    few: dict[str, Callable[[], Tensor]], wanted: Tensor, contestant: Contestant, output: Tensor
) -> str | None:
    if contestant.name not in few:
        return None
    found = few[contestant.name]()
    wrong = int((found != wanted).sum())
    return f"{wrong} of {wanted.numel()} spikes differ from the reference's" if wrong else None


def _keep(
    options: argparse.Namespace,
    facts: object,
    peaks: dict[str, dict[str, object]],
    rows: list[dict[str, object]],
    unfit: dict[str, dict[str, str]],
) -> None:
    """Write what is known so far: an interrupted run leaves its rows."""
    if options.json is not None:
        setting = {key: getattr(options, key) for key in ("batch", "T", "device", "rounds")}
        content = {"machine": facts, "setting": setting, "peaks": list(peaks.values())}
        write_json(options.json, {**content, "rows": rows, **unfit})


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__, rounds=9)
    add_device(parser, "cuda")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--T", type=int, default=16)
    parser.add_argument("--peak-size", type=int, nargs="+", default=[8192, 16384])
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds, options.peak_size = 2, [64]
    return options


if __name__ == "__main__":
    sys.exit(main())
