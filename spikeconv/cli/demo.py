"""spikeconv demo: train, convert and measure a small network on handwritten digits."""

from __future__ import annotations

import argparse
from typing import Any

from spikeconv.cli.arguments import positive, seed, set_threads
from spikeconv.demo import demo


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "demo",
        help="train, convert and measure a small network on handwritten digits",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add(
        "--plot",
        default="spikeconv-demo.png",
        metavar="FILE",
        help="accuracy against T (%(default)s)",
    )
    add(
        "--epochs",
        type=positive,
        default=20,
        metavar="N",
        help="passes over the digits (%(default)s)",
    )
    add(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="draws weights, order and calibration digits (%(default)s)",
    )
    add("--save", metavar="FILE", help="write the ANN's weights, for spikeconv evaluate")
    # Layers this small gain nothing from a second thread, and lose much where cores are shared.
    add("--threads", type=positive, default=1, metavar="N", help="CPU threads (%(default)s)")


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    set_threads(args.threads)
    demo(plot=args.plot, epochs=args.epochs, seed=args.seed, save=args.save)
