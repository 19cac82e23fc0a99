"""spikeconv plot: pictures of saved runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from spikeconv.cli.arguments import steps
from spikeconv.output import check_folder, check_output
from spikeconv.plot import SUFFIXES, figure_class
from spikeconv.plot.pictures import KINDS, pictures
from spikeconv.plot.saved import open_saved
from spikeconv.plot.style import save


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "plot",
        help="draw saved runs: accuracy, spikes, firing rates, potentials, errors",
        description="Draw what spikeconv evaluate has saved by --json (accuracy) and --record (all "
        "of it).",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="of evaluate --json or --record")
    add(
        "--what",
        nargs="+",
        choices=KINDS,
        default=[],
        metavar="KIND",
        help=f"of {', '.join(KINDS)} (all that the files hold)",
    )
    add(
        "--layer",
        nargs="+",
        default=[],
        metavar="NAME",
        help="layers to draw (all; of raster and membrane the first, the middle and the last)",
    )
    add(
        "--image",
        type=steps,
        default=0,
        metavar="N",
        help="of the recorded ones, from 0, for raster and membrane (%(default)s)",
    )
    add(
        "--out",
        default=".",
        metavar="PATH",
        help="folder, where each picture is written as .png and .svg; or one file (.)",
    )


def run(args: argparse.Namespace) -> None:
    """Open the runs, draw what was asked for and write it."""
    figure_class()
    out = Path(args.out)
    one_file = out.suffix.lower() in SUFFIXES
    if one_file:
        check_output(out)
    elif out.suffix and not out.is_dir():
        raise ValueError(
            f"--out {out}: a picture's name ends in {', '.join(SUFFIXES)}; for a folder of that "
            "name, make it first"
        )
    else:
        check_folder("--out", out)
    found = list(
        pictures([open_saved(path) for path in args.files], args.what, args.layer, args.image)
    )
    if one_file and len(found) > 1:
        names = ", ".join(name for name, _ in found)
        raise ValueError(
            f"--out {out}: one file holds one picture, and there are {len(found)} to draw "
            f"({names}); choose one by --what, or give a folder"
        )
    if not one_file:
        out.mkdir(parents=True, exist_ok=True)
    for name, draw in found:
        figure = draw()
        for path in [out] if one_file else [out / f"{name}{suffix}" for suffix in (".png", ".svg")]:
            print(f"wrote {save(figure, path)}")
