"""spikeconv compact: a file of weights at a quarter of its size."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from spikeconv.models.checkpoint import open_weights
from spikeconv.models.weights import write_weights


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "compact",
        help="round a file of weights to 8 bits, a quarter of its size",
        description="Round a file of weights to 8 bits with a scale for each output. The new file "
        "is opened like any other; `spikeconv evaluate` says what the rounding costs.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("weights", metavar="FILE", help="weights, of any format that is read")
    parser.add_argument("--out", required=True, metavar="FILE", help=".safetensors to be written")


def run(args: argparse.Namespace) -> None:
    """Write the file, and say how large both are."""
    out = Path(args.out)
    if out.suffix != ".safetensors":
        raise ValueError(f"--out: wanted a name that ends in .safetensors, got {args.out}")
    write_weights(out, open_weights(args.weights), int8=True)
    before, after = (Path(path).stat().st_size for path in (args.weights, out))
    print(f"wrote {out}: {after:,} bytes, {after / before:.0%} of {args.weights}")
