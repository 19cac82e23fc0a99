"""spikeconv evaluate: convert a trained network and measure it at every time-step."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spikeconv.calibrate import INITIAL_POTENTIALS, THRESHOLDS
from spikeconv.calibrate.correct import CORRECTION_NAMES
from spikeconv.calibrate.method import METHODS
from spikeconv.cli.arguments import (
    check_device,
    confidences,
    corrections,
    numbers,
    positive,
    seed,
    set_threads,
    steps,
    v_init,
)
from spikeconv.convert import convert
from spikeconv.data import CHANNELS, DATASETS, load_dataset
from spikeconv.early_exit import CONFIDENCES
from spikeconv.evaluate import Evaluation, evaluate
from spikeconv.files.library import import_safetensors
from spikeconv.fuse.form import PRECISIONS
from spikeconv.models import MODEL_NAMES, load_model
from spikeconv.models.checkpoint import open_weights
from spikeconv.network.record import record
from spikeconv.network.recording import write_recording
from spikeconv.output import check_apart, check_output, write_json
from spikeconv.plot import SUFFIXES, figure_class, plot_accuracy
from spikeconv.processes import Processes, processes
from spikeconv.train.network import check_fit

_RECORDED = 8
_CALIBRATION_IMAGES = 512
_BEFORE_READOUT = {
    "srp": "those that find the mask of SRP",
    "cos": "those that find the initial potentials of COS",
    "delay": "those that are run and not read",
}
_METHOD = ("headroom", "granularity", "v_init", "method", "corrections", "signed", "fuse")
_MEASUREMENT = ("calibration_images", "seed", "mean", "std", "batch", "device")


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="convert a trained network and measure it at every time-step",
        description="Convert a trained network and measure it at every time-step. Several "
        "processes or GPUs share the batches, with the same counts: torchrun --nproc-per-node N -m "
        "spikeconv evaluate ...",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--model", metavar="NAME", help=f"what the weights must be: {', '.join(MODEL_NAMES)} (any)")
    add("--weights", required=True, metavar="FILE", help="state dict: torch.save or safetensors")
    add("--dataset", required=True, choices=DATASETS, help="what to measure on")
    add("--data", metavar="DIR", help="folder that holds the dataset; digits needs none")
    add(
        "--T",
        type=positive,
        nargs="+",
        default=[16],
        metavar="N",
        help="time-steps; of several, the network is converted and run for each (16)",
    )
    add(
        "--threshold",
        choices=tuple(THRESHOLDS),
        help="how theta is set (as the method says)",
    )
    add(
        "--percentile",
        type=float,
        default=99.9,
        metavar="P",
        help="for --threshold percentile (%(default)s)",
    )
    add(
        "--headroom",
        type=float,
        metavar="H",
        help="added to every theta, in units of it (as the method says: 0 up to T = 64)",
    )
    add(
        "--granularity",
        choices=("layer", "channel"),
        default="channel",
        help="one theta for each (%(default)s)",
    )
    add(
        "--v-init",
        type=v_init,
        default="half",
        metavar="V",
        help=f"{', '.join(INITIAL_POTENTIALS)}, or V times theta (%(default)s)",
    )
    add(
        "--method",
        choices=METHODS,
        default="best",
        help="of what is left open: best picks it from calibration images, opi is the paper's "
        "(%(default)s)",
    )
    add(
        "--corrections",
        type=corrections,
        metavar="A,B",
        help=f"of {', '.join(CORRECTION_NAMES)}, in this order, or none; rts with "
        "--v-init zero (as the method says)",
    )
    add("--signed", action="store_true", help="neurons that also fire -1")
    for name, use in _BEFORE_READOUT.items():
        add(f"--{name}", type=steps, default=0, metavar="N", help=f"of the T steps, {use} (0)")
    add(
        "--calibration-images",
        type=positive,
        metavar="N",
        help=f"of the training set ({_CALIBRATION_IMAGES}, fewer where there are fewer)",
    )
    early = "points of the early-exit curve, above 0, at most 1 (0.4 to 0.999)"
    add("--confidences", type=confidences, default=CONFIDENCES, metavar="A,B,C", help=early)
    add("--batch", type=positive, default=100, metavar="N", help="images at once (%(default)s)")
    add("--limit", type=positive, metavar="N", help="test images, evenly spaced (all)")
    add(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="draws the calibration images and random initial potentials (%(default)s)",
    )
    add(
        "--mean",
        type=numbers,
        metavar="A,B,C",
        help="of the channels (what the weights were trained with, else ImageNet's or the digits')",
    )
    add("--std", type=numbers, metavar="A,B,C", help="likewise")
    add(
        "--pooling",
        choices=("max", "avg"),
        help="of networks whose weights do not say it (max)",
    )
    add(
        "--fuse",
        choices=PRECISIONS,
        help="measure the network in integers, with weights of so many bits (floating point)",
    )
    add(
        "--save",
        metavar="FILE",
        help="write the network of the largest T, for spikeconv.load (.safetensors)",
    )
    add("--json", metavar="FILE", help="write the measurement")
    add(
        "--record",
        metavar="FILE",
        help="write spikes and potentials of some neurons on 8 test images, for spikeconv plot "
        "(.safetensors)",
    )
    add("--plot", metavar="FILE", help="write accuracy against T, .png, .svg or .pdf")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to run (%(default)s)")
    add("--threads", type=positive, metavar="N", help="CPU threads (torch's choice)")


def run(args: argparse.Namespace) -> None:
    """Convert a trained network, measure it, print a table and write what was asked for."""
    with processes(args.device, "Nothing was written; start the same command again.") as group:
        _run(args, group, print if group.first else _say_nothing)


def _run(args: argparse.Namespace, group: Processes, say: Callable[[str], object]) -> None:
    written = {f"--{name}": getattr(args, name) for name in ("json", "record", "save", "plot")}
    check_apart(written, {"--weights": args.weights})
    if args.json is not None:
        check_output(args.json)
    for path in (args.record, args.save):
        if path is not None:
            check_output(path, (".safetensors",))
            import_safetensors(path)
    if args.plot is not None:
        check_output(args.plot, SUFFIXES)
        figure_class()
    check_device(args.device)
    set_threads(args.threads)
    options = {} if args.pooling is None else {"pooling": args.pooling}
    ann = load_model(args.weights, args.model, **options).to(group.device)
    args.model = ann.config.name
    about = open_weights(args.weights).about
    # Of other images than these, their normalisation says nothing; `check_fit` says what is wrong.
    said = about if ann.config.in_channels == CHANNELS[args.dataset] else {}
    args.mean, args.std = args.mean or said.get("mean"), args.std or said.get("std")
    data = load_dataset(args.dataset, args.data, mean=args.mean, std=args.std)
    check_fit(args.weights, ann.config, about, data)
    there = len(data.train)
    if args.calibration_images is None:
        args.calibration_images = min(_CALIBRATION_IMAGES, there)
    if args.calibration_images > there:
        raise ValueError(
            f"--calibration-images must be at most {there}, the training images of {data.name}, "
            f"got {args.calibration_images}"
        )
    calibration = data.train.sample(args.calibration_images, args.seed)
    loader = data.test.batches(args.batch, args.limit)
    settings = _settings(args)
    say(f"{ann.config}\n{args.dataset}: {loader.count:,} of {len(data.test):,} test images")
    say(", ".join(f"{key} {value}" for key, value in settings.items() if value is not None))
    results: dict[int, Evaluation] = {}
    chosen: dict[int, dict[str, Any]] = {}
    for T in sorted(set(args.T)):
        snn = convert(
            ann,
            calibration,
            T=T,
            threshold=args.threshold,
            percentile=args.percentile,
            headroom=args.headroom,
            granularity=args.granularity,
            v_init=args.v_init,
            method=args.method,
            corrections=args.corrections,
            signed=args.signed,
            delay=args.delay,
            srp=args.srp,
            cos=args.cos,
            seed=args.seed,
            progress=group.first,
        )
        measured = snn if args.fuse is None else snn.fuse(args.fuse)
        share = loader.share(group.rank, group.count)
        results[T] = evaluate(ann, measured, share, confidences=args.confidences, group=group)
        report = snn.report()
        chosen[T] = {**report.settings, "tried": [asdict(one) for one in report.tried]}
        say(f"\nconverted for T = {T}\n{report.choice()}\n\n{results[T]}")
        if args.fuse is not None:
            say(f"\n{measured.report().paths_in_words()}")
    if not group.first:
        return
    last = results[max(results)]
    own = {T: result.snn[-1] for T, result in results.items()}
    if len(own) > 1:
        print("\nconverted for each T: " + ", ".join(f"{a:.2%} at {T}" for T, a in own.items()))
    content = {
        **last.to_dict(),
        "converted_for_each_T": own,
        "settings": settings,
        "chosen_for_each_T": chosen,
    }
    if args.json is not None:
        write_json(args.json, content)
        print(f"wrote {args.json}")
    if args.save is not None:
        measured.save(args.save)
        print(f"wrote {args.save}")
    if args.record is not None:
        images, _ = next(iter(data.test.batches(_RECORDED, min(_RECORDED, loader.count))))
        write_recording(args.record, record(snn, images.to(group.device), content))
        before = "" if args.fuse is None else ", of the network before --fuse, in floating point"
        print(f"wrote {args.record}{before}")
    if args.plot is not None:
        every = dict(enumerate(last.snn, start=1))
        curves = {f"converted for T = {last.T}": every}
        if len(own) > 1:
            curves["converted for each T"] = own
        plot_accuracy(args.plot, curves, last.ann, f"{ann.config.name} on {args.dataset}")
        print(f"wrote {args.plot}")


def _say_nothing(line: str) -> None:
    """What the other processes print."""


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a measurement depends on, as JSON takes it."""
    return {
        "model": args.model,
        "weights": Path(args.weights).name,
        "dataset": args.dataset,
        "T": sorted(set(args.T)),
        "threshold": args.threshold,
        "percentile": args.percentile if args.threshold == "percentile" else None,
        **{name: getattr(args, name) for name in (*_METHOD, *_BEFORE_READOUT, *_MEASUREMENT)},
    }
