"""spikeconv compact: a file of weights at a quarter of its size."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from spikeconv.models.checkpoint import load_model, open_weights
from spikeconv.models.weights import write_weights
from spikeconv.output import check_apart, check_output


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "compact",
        help="round a file of weights to 8 bits, a quarter of its size",
        description="Round a file of weights to 8 bits with a scale for each output. The new file "
        "is opened like any other; `spikeconv evaluate` says what the rounding costs.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "weights", metavar="FILE", help="of a ResNet or VGG, in any format that is read"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help=".safetensors to be written")


def run(args: argparse.Namespace) -> None:
    """Write the file, and say how large both are."""
    out = check_output(args.out, (".safetensors",))
    check_apart({"--out": out}, {"FILE": args.weights})
    load_model(args.weights)  # refuses what is none of a network's weights
    before = Path(args.weights).stat().st_size
    write_weights(out, open_weights(args.weights), int8=True)
    after = out.stat().st_size
    print(f"wrote {out}: {after:,} bytes, {after / before:.0%} of {args.weights}")
