"""spikeconv train: a network made to be converted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from spikeconv.cli.arguments import check_device, numbers, positive, seed, set_threads
from spikeconv.data import DATASETS, load_dataset
from spikeconv.environment import has_fast_bf16
from spikeconv.output import check_folder
from spikeconv.train import OPTIMIZERS, SCHEDULES, Job, Recipe
from spikeconv.train.augment import default_names

_DEFAULT = Recipe()
# Where --holdout is not given: a tenth of the training set, this at most.
_HOLDOUT = 5000
_LEVELS = 4
_COMPILERS = ("torch._dynamo", "torch._inductor")


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "train",
        help="train a network that is made to be converted; goes on where it was stopped",
        description="Train a network that is made to be converted, with average pooling. The same "
        "command goes on where it was stopped, bit for bit. On several devices: torchrun "
        "--nproc-per-node N -m spikeconv train ...",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--model", required=True, metavar="NAME", help="resnet20, resnet18, vgg16, ...")
    add("--dataset", required=True, choices=DATASETS, help="what to train on")
    add("--data", metavar="DIR", help="folder that holds the dataset; digits needs none")
    add("--out", required=True, metavar="DIR", help="folder for checkpoints, log and weights")
    add(
        "--activation",
        choices=("relu", "clip", "qcfs"),
        default="relu",
        help="relu, with a trained clip bound, or with a trained step (%(default)s)",
    )
    add("--levels", type=positive, metavar="L", help=f"of qcfs ({_LEVELS})")
    add("--init", metavar="FILE", help="start from weights of the same shape, of any activation")
    add("--epochs", type=positive, default=_DEFAULT.epochs, metavar="N", help="(%(default)s)")
    add(
        "--batch",
        type=positive,
        default=_DEFAULT.batch,
        metavar="N",
        help="images a step, over all devices (%(default)s)",
    )
    add("--lr", type=float, default=_DEFAULT.lr, metavar="X", help="highest (%(default)s)")
    add(
        "--optimizer",
        choices=OPTIMIZERS,
        default=_DEFAULT.optimizer,
        help="for all, or muon for the weights of layers within and sgd for the rest (%(default)s)",
    )
    add("--muon-lr", type=float, metavar="X", help=f"muon's highest ({_DEFAULT.muon_lr})")
    add("--schedule", choices=SCHEDULES, default=_DEFAULT.schedule, help="of lr (%(default)s)")
    add(
        "--augment",
        type=_names,
        metavar="A,B",
        help="of crop, flip, autoaugment, cutout, jitter, in their order (cutout last), or none "
        "(crop,flip; with jitter for imagenet and folder; none for digits)",
    )
    add(
        "--holdout",
        type=int,
        metavar="N",
        help="training images that only pick the best epoch (a tenth, 5000 at most)",
    )
    add(
        "--label-smoothing",
        type=float,
        default=_DEFAULT.label_smoothing,
        metavar="X",
        help="(%(default)s)",
    )
    add(
        "--weight-decay",
        type=float,
        default=_DEFAULT.weight_decay,
        metavar="X",
        help="(%(default)s)",
    )
    add("--seed", type=seed, default=0, metavar="N", help="draws everything (%(default)s)")
    add("--limit", type=positive, metavar="N", help="train on so many images only (all)")
    add("--mean", type=numbers, metavar="A,B,C", help="of the channels (ImageNet's; digits' own)")
    add("--std", type=numbers, metavar="A,B,C", help="likewise")
    add(
        "--bf16",
        choices=("auto", "on", "off"),
        default="auto",
        help="convolutions in bfloat16; auto: where CPU or GPU multiply them (%(default)s)",
    )
    add("--compile", action="store_true", help="through torch.compile")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to run (%(default)s)")
    add("--threads", type=positive, metavar="N", help="CPU threads (torch's choice)")


def run(args: argparse.Namespace) -> None:
    """Train, and print a line for each epoch."""
    if args.levels is not None and args.activation != "qcfs":
        raise ValueError(
            f"--levels is of --activation qcfs, got --levels {args.levels} with --activation "
            f"{args.activation}"
        )
    if args.muon_lr is not None and args.optimizer != "muon":
        raise ValueError(
            f"--muon-lr is of --optimizer muon, got --muon-lr {args.muon_lr} with --optimizer "
            f"{args.optimizer}"
        )
    check_folder("--out", args.out)
    check_device(args.device)
    set_threads(args.threads)
    bf16 = args.bf16 == "on" or (args.bf16 == "auto" and has_fast_bf16(args.device))
    data = load_dataset(args.dataset, args.data, mean=args.mean, std=args.std)
    images = len(data.train)
    augment = default_names(args.dataset) if args.augment is None else args.augment
    recipe = Recipe(
        epochs=args.epochs,
        batch=args.batch,
        lr=args.lr,
        weight_decay=args.weight_decay,
        optimizer=args.optimizer,
        muon_lr=_DEFAULT.muon_lr if args.muon_lr is None else args.muon_lr,
        schedule=args.schedule,
        augment=augment,
        holdout=min(_HOLDOUT, images // 10) if args.holdout is None else args.holdout,
        seed=args.seed,
        label_smoothing=args.label_smoothing,
        bf16=bf16,
        compile=args.compile,
        limit=args.limit,
    )
    job = Job(
        args.model,
        data,
        recipe,
        Path(args.out),
        activation=args.activation,
        levels=args.levels or _LEVELS,
        init=None if args.init is None else Path(args.init),
        device=args.device,
    )
    try:
        job.run()
    except RuntimeError as error:
        if not type(error).__module__.startswith(_COMPILERS):
            raise
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--compile: torch.compile cannot compile here ({reason}); on a CPU it needs a C++ "
            "compiler, such as g++. Leave --compile out, and the same is computed more slowly"
        ) from error


def _names(text: str) -> tuple[str, ...]:
    """Parse names with commas between them; ``none`` is no name."""
    return () if text == "none" else tuple(text.split(","))
